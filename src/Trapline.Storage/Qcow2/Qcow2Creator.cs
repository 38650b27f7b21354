using System.Numerics;
using Trapline.Core;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>How a new qcow2 image is to be.</summary>
public sealed record Qcow2Settings
{
    /// <summary>Bytes of the disk; a multiple of 512.</summary>
    public required long Size { get; init; }

    /// <summary>Bytes, a power of two from 512 to 2M.</summary>
    public int ClusterSize { get; init; } = 1 << 16;

    /// <summary>Bits of a reference count, a power of two from 1 to 64.</summary>
    public int RefcountBits { get; init; } = 16;

    public bool LazyRefcounts { get; init; }

    public Qcow2Compression Compression { get; init; }

    public string? BackingName { get; init; }

    /// <summary>What the backing image is; stated in every image that has one.</summary>
    public ImageFormat BackingFormat { get; init; }
}

/// <summary>Makes empty images.</summary>
internal static class Qcow2Creator
{
    /// <summary>Writes an empty image into an empty file.</summary>
    /// <exception cref="BadInputException">The settings make no sense.</exception>
    public static void Create(string path, IImageFile file, Qcow2Settings settings)
    {
        if (settings.ClusterSize is < 512 or > 1 << 21 || !BitOperations.IsPow2(settings.ClusterSize))
            throw new BadInputException($"'{path}': cluster_size {settings.ClusterSize} cannot be: use a power of two from 512 to 2M");
        if (settings.RefcountBits is < 1 or > 64 || !BitOperations.IsPow2(settings.RefcountBits))
            throw new BadInputException($"'{path}': refcount_bits {settings.RefcountBits} cannot be: use a power of two from 1 to 64");
        if (settings.Size <= 0 || settings.Size % DiskImage.SectorSize != 0)
            throw new BadInputException($"'{path}' cannot have {settings.Size} bytes: give a multiple of {DiskImage.SectorSize}");
        int clusterBits = BitOperations.Log2((uint)settings.ClusterSize);
        long entries = Qcow2Header.L1EntriesFor(settings.Size, clusterBits);
        if (entries > Qcow2Header.LargestL1Bytes / sizeof(ulong))
            throw new BadInputException($"'{path}' cannot have {settings.Size} bytes: clusters of {settings.ClusterSize} bytes are too small for that");
        bool zstd = settings.Compression == Qcow2Compression.Zstd;
        if (zstd && !Host.Zstandard.IsAvailable)
            throw new BadInputException($"'{path}': compression_type zstd needs libzstd.so.1, which is not installed: use zlib");
        Qcow2Header header = new()
        {
            ClusterBits = clusterBits,
            Size = settings.Size,
            L1Offset = settings.ClusterSize,
            L1Entries = (int)entries,
            RefcountOrder = BitOperations.Log2((uint)settings.RefcountBits),
            Compatible = settings.LazyRefcounts ? CompatibleFeatures.LazyRefcounts : 0,
            Incompatible = zstd ? IncompatibleFeatures.CompressionType : 0,
            Compression = settings.Compression,
            BackingName = settings.BackingName,
            BackingFormat = settings.BackingName == null ? null : settings.BackingFormat == ImageFormat.Raw ? "raw" : "qcow2",
        };
        byte[] first = header.ToCluster(path);
        long clusters = 1 + ((entries * sizeof(ulong) + settings.ClusterSize - 1) >> clusterBits);
        file.SetLength(clusters << clusterBits);
        ReferenceCounts counts = new(clusters);
        for (long cluster = 0; cluster < clusters; cluster++)
            counts.Add(cluster, 1);
        RefcountBuilder.Build(path, file, header, counts).WriteSwitched(first);
        file.Write(0, first);
        file.Flush();
    }
}
