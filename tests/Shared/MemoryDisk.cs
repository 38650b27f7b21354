using Trapline.Core;

namespace Trapline.Testing;

/// <summary>A disk in memory, which notes what was asked of it.</summary>
internal sealed class MemoryDisk(int length, bool readOnly = false) : IDiskBackend
{
    private readonly Lock _lock = new();

    public byte[] Content { get; } = new byte[length];
    public int Flushes { get; private set; }
    public long Discarded { get; private set; }
    public bool Fails { get; set; }

    /// <summary>What the thread that served a request had allocated then: the first, and the last.</summary>
    public List<long> Allocated { get; } = new(10_000);

    public long Length => Content.Length;
    public bool IsReadOnly => readOnly;
    public int OptimalBlockSize => 4096;

    public void Read(long offset, Span<byte> destination)
    {
        Note();
        Content.AsSpan((int)offset, destination.Length).CopyTo(destination);
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        Note();
        source.CopyTo(Content.AsSpan((int)offset));
    }

    public void Flush()
    {
        Note();
        Flushes++;
    }

    public void Discard(long offset, long length)
    {
        Note();
        Discarded += length;
    }

    public void WriteZeroes(long offset, long length, bool mayUnmap)
    {
        Note();
        Content.AsSpan((int)offset, (int)length).Clear();
    }

    public void Dispose() { }

    private void Note()
    {
        if (Fails)
            throw new IOException("the test's disk fails");
        lock (_lock)
        {
            if (Allocated.Count < Allocated.Capacity)
                Allocated.Add(GC.GetAllocatedBytesForCurrentThread());
        }
    }
}
