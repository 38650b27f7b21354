using Trapline.Core;

namespace Trapline.Machine;

/// <summary>In the place of a disk whose content is not in a snapshot: whoever goes on with the machine brings the disk.</summary>
internal sealed class AbsentDisk(long length, bool readOnly) : IDiskBackend
{
    public long Length => length;

    public bool IsReadOnly => readOnly;

    public int OptimalBlockSize => 512;

    public void Read(long offset, Span<byte> destination) => throw Absent();

    public void Write(long offset, ReadOnlySpan<byte> source) => throw Absent();

    public void Flush() => throw Absent();

    public void Discard(long offset, long length) => throw Absent();

    public void WriteZeroes(long offset, long length, bool mayUnmap) => throw Absent();

    public void Dispose() { }

    private static IOException Absent() => new("the disk is not here");
}
