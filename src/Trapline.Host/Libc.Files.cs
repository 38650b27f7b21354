using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>Calls on files that disk images need (fcntl(2), fallocate(2), fdatasync(2)).</summary>
internal static unsafe partial class Libc
{
    public const int OpenReadOnly = 0;
    public const int OpenReadWrite = 2;
    public const int OpenCreate = 0x40;
    public const int OpenDirect = 0x4000;
    public const int OpenCloseOnExec = 0x80000;

    public const int KeepSize = 1;
    public const int PunchHole = 2;
    public const int ZeroRange = 0x10;

    /// <summary>F_OFD_GETLK, F_OFD_SETLK: locks of an open file description, which end with its last descriptor.</summary>
    public const int GetDescriptionLock = 36, SetDescriptionLock = 37;

    public const short ReadLock = 0, WriteLock = 1, Unlock = 2;

    /// <summary>errno values that mean "this file cannot do that".</summary>
    public const int InvalidArgument = 22, NoSystemCall = 38, NotSupported = 95;

    /// <summary>EINTR.</summary>
    public const int Interrupted = 4;

    [StructLayout(LayoutKind.Sequential)]
    public struct MemoryPart
    {
        public nint Address;
        public nint Length;
    }

    [LibraryImport("libc", EntryPoint = "preadv", SetLastError = true)]
    public static unsafe partial nint Preadv(int fd, MemoryPart* parts, int count, long offset);

    [LibraryImport("libc", EntryPoint = "pwritev", SetLastError = true)]
    public static unsafe partial nint Pwritev(int fd, MemoryPart* parts, int count, long offset);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int Fdatasync(int fd);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Fallocate(int fd, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    public static partial int Fcntl(int fd, int command, RecordLock* argument);

    /// <summary>struct flock.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct RecordLock
    {
        public short Type;
        public short Whence;
        public long Start;
        public long Length;
        public int Process;
    }
}
