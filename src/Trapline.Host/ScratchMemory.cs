using System.Buffers;
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>A large block of zeroed memory for a short time: in huge pages where the host has them, and the host's again at once when disposed.</summary>
/// <remarks>
/// Unsafe because spans of it must not be used after its end. Nothing but <see cref="IDisposable.Dispose"/> ends it, so that no span outlives it unseen:
/// its owner disposes it where all spans are out of scope.
/// </remarks>
public sealed unsafe class ScratchMemory : MemoryManager<byte>
{
    private readonly int _length;
    private byte* _start;

    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public ScratchMemory(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        byte* start = Libc.Mmap(null, (ulong)length, Libc.ProtRead | Libc.ProtWrite, Libc.MapPrivate | Libc.MapAnonymous | Libc.MapNoReserve, -1, 0);
        if ((nint)start == -1)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        _start = start;
        _length = length;
        HostPages.PreferHuge(GetSpan());
    }

    private byte* Start
    {
        get
        {
            ObjectDisposedException.ThrowIf(_start == null, this);
            return _start;
        }
    }

    public override Span<byte> GetSpan() => new(Start, _length);

    public override MemoryHandle Pin(int elementIndex = 0)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)elementIndex, (uint)_length, nameof(elementIndex));
        return new MemoryHandle(Start + elementIndex);
    }

    public override void Unpin()
    {
        // It never moves.
    }

    protected override void Dispose(bool disposing)
    {
        if (_start == null)
            return;
        Libc.Munmap(_start, (ulong)_length);
        _start = null;
    }
}
