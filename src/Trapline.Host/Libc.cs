using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>The system calls that this host needs beyond what .NET offers (Linux x86-64 constants).</summary>
internal static unsafe partial class Libc
{
    public const int ProtNone = 0;
    public const int ProtRead = 1;
    public const int ProtWrite = 2;
    public const int MapShared = 1;
    public const int MapPrivate = 2;
    public const int MapFixed = 0x10;
    public const int MapAnonymous = 0x20;
    public const int MapNoReserve = 0x4000;
    public const int MremapMayMove = 1;
    public const int MremapFixed = 2;
    public const int Map32Bit = 0x40;
    public const int MapFixedNoReplace = 0x100000;
    public const int ProtExec = 4;
    public const uint MfdCloexec = 1;
    public const int MadvDontNeed = 4;
    public const int MadvHugePage = 14;
    public const int MadvCollapse = 25;

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int MemfdCreate(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Ftruncate(int fd, long length);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    public static partial long Lseek(int fd, long offset, int whence);

    /// <summary>O_RDONLY, O_DIRECTORY, O_CLOEXEC.</summary>
    public const int OpenFolder = 0x10000 | 0x80000;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    public static partial int Fsync(int fd);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    public static partial byte* Mmap(void* address, ulong length, int protection, int flags, int fd, long offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    public static partial int Munmap(void* address, ulong length);

    [LibraryImport("libc", EntryPoint = "mremap", SetLastError = true)]
    public static partial byte* Mremap(void* address, ulong length, ulong newLength, int flags, void* newAddress);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    public static partial int Mprotect(void* address, ulong length, int protection);

    [LibraryImport("libc", EntryPoint = "madvise", SetLastError = true)]
    public static partial int Madvise(void* address, ulong length, int advice);
}
