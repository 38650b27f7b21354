using Trapline.Core;
using Trapline.Storage.Files;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage.Operations;

/// <summary>What can be said of an image without reading its disk.</summary>
public sealed record ImageInfo
{
    public required string Path { get; init; }

    public required ImageFormat Format { get; init; }

    /// <summary>Bytes of the disk.</summary>
    public required long Length { get; init; }

    /// <summary>Bytes of the file that are stored on the host.</summary>
    public required long StoredLength { get; init; }

    /// <summary>What only a qcow2 image has.</summary>
    public Qcow2Info? Qcow2 { get; init; }

    /// <summary>Looks at an image; one that somebody writes is refused.</summary>
    /// <param name="path">The file.</param>
    /// <param name="format">Null: by its name.</param>
    /// <exception cref="BadInputException">It cannot be opened.</exception>
    public static ImageInfo Of(string path, ImageFormat? format)
    {
        using IImageFile file = ImageOpener.OpenFile(path, writable: false, direct: false);
        try
        {
            long stored = 0;
            for (long at = 0; at < file.Length;)
            {
                (bool isStored, long end) = file.StoredAt(at);
                end = Math.Min(end, file.Length);
                stored += isStored ? end - at : 0;
                at = end;
            }
            if ((format ?? ImageOpener.Guess(file, path)) == ImageFormat.Raw)
                return new ImageInfo { Path = path, Format = ImageFormat.Raw, Length = file.Length, StoredLength = stored };
            Qcow2Header header = Qcow2Header.Read(path, (offset, target) => file.Read(offset, target));
            return new ImageInfo { Path = path, Format = ImageFormat.Qcow2, Length = header.Size, StoredLength = stored, Qcow2 = Qcow2Info.Of(path, file, header) };
        }
        catch (IOException e)
        {
            throw new BadInputException($"'{path}' cannot be read: {e.Message}");
        }
    }
}

/// <summary>What a qcow2 image says of itself.</summary>
public sealed record Qcow2Info
{
    public required int Version { get; init; }

    public required int ClusterSize { get; init; }

    public required int RefcountBits { get; init; }

    public required bool LazyRefcounts { get; init; }

    public required Qcow2Compression Compression { get; init; }

    /// <summary>It was not closed: its counts may be late.</summary>
    public required bool IsDirty { get; init; }

    public required bool IsCorrupt { get; init; }

    public string? BackingName { get; init; }

    /// <summary>As the image says; null if it does not say.</summary>
    public string? BackingFormat { get; init; }

    public required IReadOnlyList<Qcow2Snapshot> Snapshots { get; init; }

    internal static Qcow2Info Of(string path, IImageFile file, Qcow2Header header) => new()
    {
        Version = (int)header.Version,
        ClusterSize = header.ClusterSize,
        RefcountBits = 1 << header.RefcountOrder,
        LazyRefcounts = (header.Compatible & CompatibleFeatures.LazyRefcounts) != 0,
        Compression = header.Compression,
        IsDirty = (header.Incompatible & IncompatibleFeatures.Dirty) != 0,
        IsCorrupt = (header.Incompatible & IncompatibleFeatures.Corrupt) != 0,
        BackingName = header.BackingName,
        BackingFormat = header.BackingFormat,
        Snapshots = SnapshotTable.TryRead(file, header, out List<SnapshotRecord> snapshots, out _)
            ? [.. snapshots.Select(s => new Qcow2Snapshot(s.Id, s.Name, DateTime.UnixEpoch.AddSeconds(s.Seconds), s.DiskSize ?? header.Size, s.VmStateSize))]
            : throw new BadInputException($"'{path}' is damaged: its snapshot table cannot be read"),
    };
}
