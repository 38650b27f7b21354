namespace Trapline.Core;

/// <summary>The host end of a disk: its content, as bytes from 0 to <see cref="Length"/>.</summary>
/// <remarks>
/// Calls block until they are done and come from several worker threads of a device at once, never from a vCPU's thread. Requests that overlap and are in
/// flight together have no order. What was written before a call of <see cref="Flush"/> began is on stable storage when it returns. A range outside the
/// disk is the caller's mistake (<see cref="ArgumentOutOfRangeException"/>): a device checks the guest's request first.
/// </remarks>
/// <exception cref="IOException">From every operation: the host refused. The device reports an error to its guest; the disk stays usable.</exception>
public interface IDiskBackend : IDisposable
{
    /// <summary>Bytes; a multiple of 512.</summary>
    long Length { get; }

    /// <summary>Writes are refused with <see cref="IOException"/>.</summary>
    bool IsReadOnly { get; }

    /// <summary>Bytes of the smallest request that costs no read-modify-write, for the guest to know: a power of two from 512.</summary>
    int OptimalBlockSize { get; }

    void Read(long offset, Span<byte> destination);

    void Write(long offset, ReadOnlySpan<byte> source);

    /// <summary>Reads into a range of scattered memory: at once, where the disk can.</summary>
    void Read(long offset, IScatteredMemory memory, long from, long length)
    {
        foreach (Span<byte> part in new ScatteredRange(memory, from, length))
        {
            Read(offset, part);
            offset += part.Length;
        }
    }

    /// <summary>Writes a range of scattered memory: at once, where the disk can.</summary>
    void Write(long offset, IScatteredMemory memory, long from, long length)
    {
        foreach (Span<byte> part in new ScatteredRange(memory, from, length))
        {
            Write(offset, part);
            offset += part.Length;
        }
    }

    void Flush();

    /// <summary>The guest no longer needs the range: it may read as anything that was there, or zeroes. Partial blocks may be ignored.</summary>
    void Discard(long offset, long length);

    /// <summary>The range reads as zeroes from now on.</summary>
    /// <param name="mayUnmap">The space on the host may be given back.</param>
    void WriteZeroes(long offset, long length, bool mayUnmap);
}
