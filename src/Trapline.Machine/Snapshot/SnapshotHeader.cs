using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Machine;

/// <summary>The first page of a snapshot file: what it is, and where its manifest lies.</summary>
internal readonly record struct SnapshotHeader(SnapshotSection Manifest)
{
    public const int Size = 4096;

    /// <summary>Raised whenever an older Trapline could not read the file.</summary>
    public const uint Format = 1;

    private const int FormatAt = 8, ManifestOffsetAt = 16, ManifestLengthAt = 24, ManifestCrcAt = 32, HeaderCrcAt = Size - 4;

    private static ReadOnlySpan<byte> Magic => "TRAPSNAP"u8;

    public byte[] Encode()
    {
        byte[] page = new byte[Size];
        Magic.CopyTo(page);
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(FormatAt), Format);
        BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(ManifestOffsetAt), Manifest.Offset);
        BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(ManifestLengthAt), Manifest.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(ManifestCrcAt), Manifest.Crc32C);
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(HeaderCrcAt), Crc32C.Compute(page.AsSpan(0, HeaderCrcAt)));
        return page;
    }

    /// <exception cref="BadInputException">This is no snapshot that this Trapline can read.</exception>
    public static SnapshotHeader Decode(ReadOnlySpan<byte> page)
    {
        if (page.Length < Magic.Length || !page[..Magic.Length].SequenceEqual(Magic))
            throw new BadInputException("it is not a snapshot of Trapline's");
        if (page.Length < Size)
            throw new BadInputException("it is cut off in its first page");
        if (BinaryPrimitives.ReadUInt32LittleEndian(page[HeaderCrcAt..]) != Crc32C.Compute(page[..HeaderCrcAt]))
            throw new BadInputException("its first page is damaged");
        uint format = BinaryPrimitives.ReadUInt32LittleEndian(page[FormatAt..]);
        if (format != Format)
            throw new BadInputException($"it has format {format}, and this Trapline reads {Format}: use a newer Trapline");
        return new SnapshotHeader(new SnapshotSection(
            BinaryPrimitives.ReadUInt64LittleEndian(page[ManifestOffsetAt..]), BinaryPrimitives.ReadUInt64LittleEndian(page[ManifestLengthAt..]),
            BinaryPrimitives.ReadUInt32LittleEndian(page[ManifestCrcAt..])));
    }
}
