using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Kvm.Abi;

/// <summary>The system calls of KVM's interface.</summary>
internal static unsafe partial class KvmCalls
{
    public const int Eintr = 4;
    public const int E2big = 7;
    public const int Eagain = 11;

    private const int OpenReadWriteCloseOnExec = 2 | 0x80000;
    private const int ReadWrite = 1 | 2;
    private const int Shared = 1;

    /// <returns>A descriptor, or -1 and an error for <see cref="LastError"/>.</returns>
    public static int Open(string path) => Open(path, OpenReadWriteCloseOnExec, 0);

    /// <summary>An ioctl that must work.</summary>
    /// <exception cref="KvmException">It did not.</exception>
    public static int Require(int descriptor, ulong request, void* argument, string name)
    {
        int result = Control(descriptor, request, argument);
        return result >= 0 ? result : throw new KvmException(name, Marshal.GetLastPInvokeError());
    }

    /// <summary>An ioctl whose argument is a number.</summary>
    public static int Require(int descriptor, ulong request, ulong argument, string name) => Require(descriptor, request, (void*)argument, name);

    /// <exception cref="KvmException">The host refused.</exception>
    public static byte* MapShared(int descriptor, ulong length)
    {
        byte* start = Map(null, length, ReadWrite, Shared, descriptor, 0);
        return (nint)start != -1 ? start : throw new KvmException("mmap", Marshal.GetLastPInvokeError());
    }

    public static string LastError => new Win32Exception(Marshal.GetLastPInvokeError()).Message;

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    public static partial int Control(int descriptor, ulong request, void* argument);

    [LibraryImport("libc", EntryPoint = "close")]
    public static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "munmap")]
    public static partial int Unmap(void* address, ulong length);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial byte* Map(void* address, ulong length, int protection, int flags, int descriptor, long offset);
}
