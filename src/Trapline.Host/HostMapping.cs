using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>A shared, lazily committed host mapping over an anonymous file (memfd): what guest RAM lives in.</summary>
/// <remarks>Unsafe because it hands out the raw base. The mapping lives until <see cref="Dispose"/>; owners hold it as long as any vCPU can run.</remarks>
public sealed unsafe class HostMapping : IDisposable
{
    private readonly int _fileDescriptor;
    private byte* _base;

    private HostMapping(byte* start, ulong length, int fileDescriptor)
    {
        _base = start;
        Length = length;
        _fileDescriptor = fileDescriptor;
    }

    /// <summary>Bytes mapped; a multiple of the host page size.</summary>
    public ulong Length { get; }

    public byte* Base => _base;

    /// <summary>The memfd, or -1 for a private anonymous mapping.</summary>
    public int FileDescriptor => _fileDescriptor;

    /// <summary>Maps <paramref name="length"/> bytes that read as zero and are committed when touched.</summary>
    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public static HostMapping CreateShared(string name, ulong length)
    {
        int fd = Libc.MemfdCreate(name, Libc.MfdCloexec);
        if (fd < 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        if (Libc.Ftruncate(fd, (long)length) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            Libc.Close(fd);
            throw new Win32Exception(error);
        }
        byte* start = Libc.Mmap(null, length, Libc.ProtRead | Libc.ProtWrite, Libc.MapShared | Libc.MapNoReserve, fd, 0);
        if ((nint)start == -1)
        {
            int error = Marshal.GetLastPInvokeError();
            Libc.Close(fd);
            throw new Win32Exception(error);
        }
        return new HostMapping(start, length, fd);
    }

    /// <summary>Maps private zeroed memory that is committed when touched.</summary>
    public static HostMapping CreatePrivate(ulong length)
    {
        byte* start = Libc.Mmap(null, length, Libc.ProtRead | Libc.ProtWrite, Libc.MapPrivate | Libc.MapAnonymous | Libc.MapNoReserve, -1, 0);
        if ((nint)start == -1)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        return new HostMapping(start, length, -1);
    }

    public void Dispose()
    {
        if (_base == null)
            return;
        Libc.Munmap(_base, Length);
        _base = null;
        if (_fileDescriptor >= 0)
            Libc.Close(_fileDescriptor);
    }
}
