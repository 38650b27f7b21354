using Trapline.Core;
using Trapline.Host;

namespace Trapline.Storage.Files;

/// <summary>An image in a file of the host, through its page cache.</summary>
internal sealed class HostImageFile(HostFile file) : IImageFile
{
    public long Length => file.Length;

    public void Read(long offset, Span<byte> destination) => destination[file.Read(offset, destination)..].Clear();

    public void Write(long offset, ReadOnlySpan<byte> source) => file.Write(offset, source);

    public void Read(long offset, IScatteredMemory memory, long from, long length) => file.Read(offset, memory, from, length);

    public void Write(long offset, IScatteredMemory memory, long from, long length) => file.Write(offset, memory, from, length);

    public void Flush() => file.Flush();

    public void SetLength(long length) => file.SetLength(length);

    // A file system that cannot zero and keep can still punch: then the space is taken again when the range is written.
    public bool TryZero(long offset, long length, bool unmap) => (!unmap && file.ZeroRange(offset, length)) || file.PunchHole(offset, length);

    public (bool Stored, long End) StoredAt(long offset)
    {
        long end = file.Length;
        if (offset >= end)
            return (false, long.MaxValue);
        long data = file.FindData(offset);
        if (data > offset)
            return (false, data >= end ? long.MaxValue : data);
        return (true, file.FindHole(offset));
    }

    public void Dispose() => file.Dispose();
}
