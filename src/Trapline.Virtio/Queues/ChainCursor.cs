namespace Trapline.Virtio.Queues;

/// <summary>A position in the readable or the writable parts of a chain. Devices see bytes in order, however the driver cut them (virtio 1.2, 2.7.4.1).</summary>
public struct ChainCursor
{
    private readonly DescriptorChain _chain;
    private readonly bool _writable;
    private int _segment;
    private uint _offset;

    internal ChainCursor(DescriptorChain chain, bool writable) => (_chain, _writable) = (chain, writable);

    /// <summary>Bytes before the cursor.</summary>
    public ulong Position { get; private set; }

    /// <summary>Bytes behind it.</summary>
    public readonly ulong Remaining => (_writable ? _chain.WritableLength : _chain.ReadableLength) - Position;

    /// <summary>The next contiguous bytes to read in place, at most <paramref name="most"/>; empty at the end. The guest may change them meanwhile.</summary>
    public ReadOnlySpan<byte> NextToRead(int most = int.MaxValue)
    {
        if (_writable)
            return default;
        ReadOnlySpan<byte> span = _chain.Readable(ref _segment, ref _offset, most);
        Position += (ulong)span.Length;
        return span;
    }

    /// <summary>The next contiguous bytes to write in place, at most <paramref name="most"/>; empty at the end.</summary>
    public Span<byte> NextToWrite(int most = int.MaxValue)
    {
        if (!_writable)
            return default;
        Span<byte> span = _chain.Writable(ref _segment, ref _offset, most, Position);
        Position += (ulong)span.Length;
        return span;
    }

    /// <summary>Copies from the chain; returns how many bytes there were.</summary>
    public int Read(Span<byte> destination)
    {
        int done = 0;
        while (done < destination.Length)
        {
            ReadOnlySpan<byte> part = NextToRead(destination.Length - done);
            if (part.IsEmpty)
                break;
            part.CopyTo(destination[done..]);
            done += part.Length;
        }
        return done;
    }

    /// <summary>Copies to the chain; returns for how many bytes there was room.</summary>
    public int Write(ReadOnlySpan<byte> source)
    {
        int done = 0;
        while (done < source.Length)
        {
            Span<byte> part = NextToWrite(source.Length - done);
            if (part.IsEmpty)
                break;
            source.Slice(done, part.Length).CopyTo(part);
            done += part.Length;
        }
        return done;
    }

    /// <summary>Moves on without touching anything; false if the chain ends before.</summary>
    public bool Skip(ulong count)
    {
        if (count > Remaining)
            return false;
        ulong end = Position + count;
        while (Position < end)
        {
            int step = (int)Math.Min(end - Position, int.MaxValue);
            int length = _writable ? _chain.Writable(ref _segment, ref _offset, step, 0).Length : _chain.Readable(ref _segment, ref _offset, step).Length;
            if (length == 0)
                return false;
            Position += (ulong)length;
        }
        return true;
    }
}
