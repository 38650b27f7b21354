using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Virtio.Queues;

/// <summary>One request: the parts of guest memory that a driver made available as a chain, those to read first, then those to write.</summary>
/// <remarks>
/// Made once for each worker and used again and again: its list has room for as many segments as a queue has descriptors, which is how long a
/// chain may be (virtio 1.2, 2.7.5.3.1). Every segment was found to be guest memory when it was added.
/// </remarks>
public sealed class DescriptorChain(GuestMemory memory, int capacity)
{
    /// <summary>Longest chain in bytes (virtio 1.2, 2.7.4.2).</summary>
    private const ulong LongestBytes = 1ul << 32;

    private readonly Segment[] _segments = new Segment[capacity];
    private int _readable, _count;
    private ulong _written;
    private Parts? _readableParts, _writableParts;

    private readonly record struct Segment(ulong Address, uint Length);

    /// <summary>Which buffer this is, for the driver.</summary>
    internal ushort Id { get; set; }

    /// <summary>Descriptors that the chain takes in a packed ring.</summary>
    internal int Slots { get; set; }

    /// <summary>Bytes that the device may read.</summary>
    public ulong ReadableLength { get; private set; }

    /// <summary>Bytes that the device may write.</summary>
    public ulong WritableLength { get; private set; }

    /// <summary>The parts to read, for back ends that take several at once; not to be written.</summary>
    public IScatteredMemory ReadableParts => _readableParts ??= new Parts(this, writable: false);

    /// <summary>The parts to write, for back ends that take several at once: say first how far with <see cref="WillWrite"/>.</summary>
    public IScatteredMemory WritableParts => _writableParts ??= new Parts(this, writable: true);

    /// <summary>The writable parts are to be written up to here, in bytes from their beginning.</summary>
    public void WillWrite(ulong end) => _written = Math.Max(_written, end);

    /// <summary>The parts to read, from their beginning.</summary>
    public ChainCursor Reader => new(this, writable: false);

    /// <summary>The parts to write, from their beginning.</summary>
    public ChainCursor Writer => new(this, writable: true);

    internal void Clear() => (_readable, _count, _written, ReadableLength, WritableLength) = (0, 0, 0, 0, 0);

    /// <summary>Adds a descriptor's buffer; false if it is not guest memory, too much, or a part to read behind one to write (2.7.4.2).</summary>
    internal bool TryAdd(ulong address, uint length, bool writable)
    {
        if (_count == _segments.Length || (!writable && _count != _readable))
            return false;
        // An empty buffer is nothing to read or write, wherever it lies.
        if (length != 0 && !(writable ? memory.TryGetSpan(new Gpa(address), length, out _) : memory.TryGetReadOnlySpan(new Gpa(address), length, out _)))
            return false;
        _segments[_count++] = new Segment(address, length);
        if (writable)
        {
            WritableLength += length;
        }
        else
        {
            _readable++;
            ReadableLength += length;
        }
        return ReadableLength + WritableLength <= LongestBytes;
    }

    /// <summary>Where the writable parts lie, for devices that deal with memory itself; false behind the last one.</summary>
    internal bool TryGetWritableRange(int index, out Gpa address, out uint length)
    {
        bool found = index < _count - _readable;
        (address, length) = found ? (new Gpa(_segments[_readable + index].Address), _segments[_readable + index].Length) : default;
        return found;
    }

    /// <summary>Tells memory what was written to it: all that cursors handed out for writing.</summary>
    internal void NoteWritten()
    {
        for (int i = _readable; i < _count && _written > 0; i++)
        {
            ulong part = Math.Min(_segments[i].Length, _written);
            memory.NoteWritten(new Gpa(_segments[i].Address), part);
            _written -= part;
        }
    }

    /// <summary>One kind of the chain's parts.</summary>
    private sealed class Parts(DescriptorChain chain, bool writable) : IScatteredMemory
    {
        public int Count => writable ? chain._count - chain._readable : chain._readable;

        public int LengthOf(int part) => (int)Math.Min(Of(part).Length, int.MaxValue);

        public Span<byte> this[int part] => chain.Find(Of(part), writable);

        private Segment Of(int part) => chain._segments[writable ? chain._readable + part : part];
    }

    private Span<byte> Find(Segment segment, bool writable)
    {
        Gpa at = new(segment.Address);
        if (writable)
            return memory.TryGetSpan(at, segment.Length, out Span<byte> span) ? span : default;
        // ROM too may be read from.
        return memory.TryGetReadOnlySpan(at, segment.Length, out ReadOnlySpan<byte> bytes) ? MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(bytes), bytes.Length) : default;
    }

    /// <summary>The next contiguous bytes at a position, at most <paramref name="most"/>; empty at the end.</summary>
    internal ReadOnlySpan<byte> Readable(scoped ref int segment, scoped ref uint offset, int most)
    {
        for (; segment < _readable; segment++, offset = 0)
        {
            Segment part = _segments[segment];
            uint length = Math.Min(part.Length - offset, (uint)most);
            if (length != 0 && memory.TryGetReadOnlySpan(new Gpa(part.Address + offset), length, out ReadOnlySpan<byte> span))
            {
                offset += length;
                return span;
            }
        }
        return default;
    }

    /// <inheritdoc cref="Readable"/>
    internal Span<byte> Writable(scoped ref int segment, scoped ref uint offset, int most, ulong position)
    {
        for (; segment < _count - _readable; segment++, offset = 0)
        {
            Segment part = _segments[_readable + segment];
            uint length = Math.Min(part.Length - offset, (uint)most);
            if (length != 0 && memory.TryGetSpan(new Gpa(part.Address + offset), length, out Span<byte> span))
            {
                offset += length;
                _written = Math.Max(_written, position + length);
                return span;
            }
        }
        return default;
    }
}
