namespace Trapline.Core;

/// <summary>Memory in several parts, in order, as a guest's request has it. The parts lie outside the managed heap and do not move while the request lasts.</summary>
public interface IScatteredMemory
{
    /// <summary>How many parts there are.</summary>
    int Count { get; }

    /// <summary>Bytes in a part.</summary>
    int LengthOf(int part);

    /// <summary>A part's bytes; fewer than <see cref="LengthOf"/> says if the memory has gone away.</summary>
    Span<byte> this[int part] { get; }
}

/// <summary>The parts of a range of scattered memory, one after the other, cut to the range.</summary>
/// <param name="from">First byte of the range.</param>
/// <param name="length">Bytes in it.</param>
public ref struct ScatteredRange(IScatteredMemory memory, long from, long length)
{
    private long _skip = from, _left = length;
    private int _next;

    public Span<byte> Current { get; private set; }

    public readonly ScatteredRange GetEnumerator() => this;

    /// <exception cref="IOException">The memory is not there, or not as much of it.</exception>
    public bool MoveNext()
    {
        while (_left > 0)
        {
            if (_next == memory.Count)
                throw new IOException("the memory of a request is shorter than the request");
            int part = _next++, size = memory.LengthOf(part);
            if (_skip >= size)
            {
                _skip -= size;
                continue;
            }
            int wanted = (int)Math.Min(size - _skip, _left);
            Span<byte> whole = memory[part];
            if (whole.Length < size)
                throw new IOException("the memory of a request has gone away");
            Current = whole.Slice((int)_skip, wanted);
            (_skip, _left) = (0, _left - wanted);
            return true;
        }
        return false;
    }
}
