using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>Private zeroed memory below 2 GiB, which emitted code reaches by a 32-bit absolute address. Committed when touched.</summary>
/// <remarks>Unsafe because it hands out the raw base. The mapping lives until <see cref="Dispose"/>.</remarks>
public sealed unsafe class LowMemory : IDisposable
{
    private const ulong FirstTried = 16 << 20, LastTried = 1 << 30, Step = 4 << 20;

    private byte* _base;

    private LowMemory(byte* start, ulong length)
    {
        _base = start;
        Length = length;
    }

    public ulong Length { get; }
    public byte* Base => _base;

    /// <summary>Maps memory below 2 GiB where the host can, else anywhere: see <see cref="IsLow"/>.</summary>
    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public static LowMemory Create(ulong length)
    {
        const int Flags = Libc.MapPrivate | Libc.MapAnonymous | Libc.MapNoReserve;
        byte* start = HostPages.Reserve(length, Libc.Map32Bit);
        if ((nint)start != -1)
            start = Libc.Mmap(start, length, Libc.ProtRead | Libc.ProtWrite, Flags | Libc.MapFixed, -1, 0);
        // The flag means the second gibibyte alone (mmap(2)).
        for (ulong wanted = FirstTried; (nint)start == -1 && wanted + length <= LastTried; wanted += Step)
            start = Libc.Mmap((void*)wanted, length, Libc.ProtRead | Libc.ProtWrite, Flags | Libc.MapFixedNoReplace, -1, 0);
        if ((nint)start == -1)
            start = Libc.Mmap(null, length, Libc.ProtRead | Libc.ProtWrite, Flags, -1, 0);
        if ((nint)start == -1)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        return new LowMemory(start, length);
    }

    /// <summary>Every byte has an address that fits a positive 32-bit displacement.</summary>
    public bool IsLow => (ulong)_base + Length <= int.MaxValue;

    public void Dispose()
    {
        if (_base == null)
            return;
        Libc.Munmap(_base, Length);
        _base = null;
    }
}
