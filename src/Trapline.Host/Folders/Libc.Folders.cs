using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

// Calls on files of a folder, by descriptors of what they are in (openat2(2), statx(2), getdents64(2) and the *at calls).
internal static unsafe partial class Libc
{
    public const int OpenAccessMask = 3;
    public const int OpenWriteOnly = 1;
    public const int OpenExclusive = 0x80;
    public const int OpenNoTerminal = 0x100;
    public const int OpenTruncate = 0x200;
    public const int OpenNonBlocking = 0x800;
    public const int OpenDataSync = 0x1000;
    public const int OpenDirectory = 0x10000;
    public const int OpenNoFollow = 0x20000;
    public const int OpenSync = 0x100000 | OpenDataSync;

    /// <summary>O_PATH: the descriptor names a file and does nothing else, so that devices and pipes notice nothing.</summary>
    public const int OpenPath = 0x200000;

    public const ulong ResolveNoMountCrossing = 1, ResolveNoMagicLinks = 2, ResolveNoSymbolicLinks = 4, ResolveBeneath = 8;

    public const int AtCurrentFolder = -100;
    public const int AtNoFollow = 0x100, AtRemoveFolder = 0x200, AtFollow = 0x400, AtNoAutomount = 0x800, AtEmptyPath = 0x1000;

    /// <summary>STATX_BASIC_STATS and STATX_BTIME.</summary>
    public const uint StatusFields = 0xFFF;

    /// <summary>STATX_ATTR_MOUNT_ROOT.</summary>
    public const ulong IsMountRoot = 0x2000;

    public const long TimeNow = 0x3FFF_FFFF, TimeOmitted = 0x3FFF_FFFE;

    public const int WriteAppend = 0x10;

    public const long SysOpenat2 = 437;

    /// <summary>struct open_how of linux/openat2.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct OpenHow
    {
        public ulong Flags;
        public ulong Mode;
        public ulong Resolve;
    }

    /// <summary>struct statx_timestamp of linux/stat.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct StatusTime
    {
        public long Seconds;
        public uint Nanoseconds;
        public int Reserved;

        public readonly FileTime Value => new(Seconds, Nanoseconds);
    }

    /// <summary>struct statx of linux/stat.h.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    public struct FileStatus
    {
        [FieldOffset(4)] public uint BlockSize;
        [FieldOffset(8)] public ulong Attributes;
        [FieldOffset(0x10)] public uint Links;
        [FieldOffset(0x14)] public uint Owner;
        [FieldOffset(0x18)] public uint Group;
        [FieldOffset(0x1C)] public ushort Mode;
        [FieldOffset(0x20)] public ulong Number;
        [FieldOffset(0x28)] public ulong Length;
        [FieldOffset(0x30)] public ulong Blocks;
        [FieldOffset(0x40)] public StatusTime Accessed;
        [FieldOffset(0x50)] public StatusTime Born;
        [FieldOffset(0x60)] public StatusTime Changed;
        [FieldOffset(0x70)] public StatusTime Modified;
        [FieldOffset(0x88)] public uint DeviceMajor;
        [FieldOffset(0x8C)] public uint DeviceMinor;

        public readonly FileFacts Facts => new()
        {
            Identity = new FileIdentity(((ulong)DeviceMajor << 32) | DeviceMinor, Number, Born.Value),
            Mode = Mode,
            Links = Links,
            Owner = Owner,
            Group = Group,
            Length = Length,
            Blocks = Blocks,
            BlockSize = BlockSize,
            Accessed = Accessed.Value,
            Modified = Modified.Value,
            Changed = Changed.Value,
        };
    }

    /// <summary>struct statfs of asm/statfs.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct FileSystemStatus
    {
        public long Type, BlockSize;
        public ulong Blocks, Free, Available, Files, FreeFiles, Id;
        public long NameLength, FragmentSize, Flags, Spare1, Spare2, Spare3, Spare4;
    }

    /// <summary>struct timespec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct GivenTime
    {
        public long Seconds;
        public long Nanoseconds;
    }

    // openat2 has no wrapper in the C library. syscall(2) is declared variadic, which for integer arguments is the ordinary x86-64 convention.
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    public static partial long Openat2(long number, int folder, byte* path, OpenHow* how, nuint size);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true)]
    public static partial int Open(byte* path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true)]
    public static partial int Statx(int folder, byte* path, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", EntryPoint = "fstatfs", SetLastError = true)]
    public static partial int Fstatfs(int fd, FileSystemStatus* status);

    [LibraryImport("libc", EntryPoint = "readlinkat", SetLastError = true)]
    public static partial nint Readlinkat(int folder, byte* path, byte* target, nuint size);

    [LibraryImport("libc", EntryPoint = "mkdirat", SetLastError = true)]
    public static partial int Mkdirat(int folder, byte* name, uint mode);

    [LibraryImport("libc", EntryPoint = "symlinkat", SetLastError = true)]
    public static partial int Symlinkat(byte* target, int folder, byte* name);

    [LibraryImport("libc", EntryPoint = "linkat", SetLastError = true)]
    public static partial int Linkat(int oldFolder, byte* oldPath, int newFolder, byte* newName, int flags);

    [LibraryImport("libc", EntryPoint = "unlinkat", SetLastError = true)]
    public static partial int Unlinkat(int folder, byte* name, int flags);

    [LibraryImport("libc", EntryPoint = "renameat2", SetLastError = true)]
    public static partial int Renameat2(int oldFolder, byte* oldName, int newFolder, byte* newName, uint flags);

    [LibraryImport("libc", EntryPoint = "chmod", SetLastError = true)]
    public static partial int Chmod(byte* path, uint mode);

    [LibraryImport("libc", EntryPoint = "truncate", SetLastError = true)]
    public static partial int Truncate(byte* path, long length);

    [LibraryImport("libc", EntryPoint = "utimensat", SetLastError = true)]
    public static partial int Utimensat(int folder, byte* path, GivenTime* times, int flags);

    [LibraryImport("libc", EntryPoint = "faccessat", SetLastError = true)]
    public static partial int Faccessat(int folder, byte* path, int mode, int flags);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    public static partial int Fchmod(int fd, uint mode);

    [LibraryImport("libc", EntryPoint = "dup", SetLastError = true)]
    public static partial int Dup(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "getdents64", SetLastError = true)]
    public static partial nint Getdents64(SafeFileHandle folder, byte* entries, nuint size);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    public static partial long Lseek(SafeFileHandle file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    public static partial int Fsync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int Fdatasync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Ftruncate(SafeFileHandle file, long length);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "preadv", SetLastError = true)]
    public static partial nint Preadv(SafeFileHandle file, MemoryPart* parts, int count, long offset);

    [LibraryImport("libc", EntryPoint = "pwritev2", SetLastError = true)]
    public static partial nint Pwritev2(SafeFileHandle file, MemoryPart* parts, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true)]
    public static partial int Statx(SafeFileHandle folder, byte* path, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    public static partial int Getrlimit(int resource, ulong* limits);
}
