using Trapline.Core;

namespace Trapline.Storage.Files;

/// <summary>A file whose flushes do nothing (<see cref="CacheMode.Unsafe"/>).</summary>
internal sealed class UnflushedFile(IImageFile file) : IImageFile
{
    public long Length => file.Length;

    public void Read(long offset, Span<byte> destination) => file.Read(offset, destination);

    public void Write(long offset, ReadOnlySpan<byte> source) => file.Write(offset, source);

    public void Read(long offset, IScatteredMemory memory, long from, long length) => file.Read(offset, memory, from, length);

    public void Write(long offset, IScatteredMemory memory, long from, long length) => file.Write(offset, memory, from, length);

    public void Flush()
    {
    }

    public void SetLength(long length) => file.SetLength(length);

    public bool TryZero(long offset, long length, bool unmap) => file.TryZero(offset, length, unmap);

    public (bool Stored, long End) StoredAt(long offset) => file.StoredAt(offset);

    public void Dispose() => file.Dispose();
}
