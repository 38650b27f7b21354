using Trapline.Storage.Files;

namespace Trapline.Storage.Faults;

/// <summary>A file in memory.</summary>
internal sealed class MemoryImageFile : IImageFile
{
    private readonly Lock _lock = new();
    private byte[] _bytes = [];
    private long _length;

    public MemoryImageFile()
    {
    }

    public MemoryImageFile(byte[] content) => (_bytes, _length) = ([.. content], content.Length);

    public long Length => Volatile.Read(ref _length);

    public byte[] ToArray()
    {
        lock (_lock)
            return _bytes[..(int)_length];
    }

    public void Read(long offset, Span<byte> destination)
    {
        lock (_lock)
        {
            int there = (int)Math.Clamp(_length - offset, 0, destination.Length);
            if (there > 0)
                _bytes.AsSpan((int)offset, there).CopyTo(destination);
            destination[there..].Clear();
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        lock (_lock)
        {
            Grow(offset + source.Length);
            source.CopyTo(_bytes.AsSpan((int)offset));
        }
    }

    public void Flush()
    {
    }

    public void SetLength(long length)
    {
        lock (_lock)
        {
            if (length < _length)
                _bytes.AsSpan((int)length, (int)(_length - length)).Clear();
            Grow(length);
            _length = length;
        }
    }

    public bool TryZero(long offset, long length, bool unmap)
    {
        lock (_lock)
        {
            int there = (int)Math.Clamp(_length - offset, 0, length);
            if (there > 0)
                _bytes.AsSpan((int)offset, there).Clear();
        }
        return true;
    }

    public (bool Stored, long End) StoredAt(long offset) => offset < Length ? (true, Length) : (false, long.MaxValue);

    public void Dispose()
    {
    }

    private void Grow(long length)
    {
        if (length > 1 << 30)
            throw new IOException("no space left on device");
        if (length > _bytes.Length)
            Array.Resize(ref _bytes, (int)Math.Max(length, Math.Min(_bytes.Length * 2L, 1 << 30)));
        _length = Math.Max(_length, length);
    }
}
