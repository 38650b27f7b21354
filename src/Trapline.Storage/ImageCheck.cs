using Trapline.Core;
using Trapline.Storage.Files;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage;

/// <summary>What a check of an image found.</summary>
public sealed record ImageCheckResult
{
    /// <summary>Whatever may cost data: wrong counts of clusters in use, pointers to nowhere.</summary>
    public long Corruptions { get; init; }

    /// <summary>Clusters that are counted as used more often than they are: space lost, nothing else.</summary>
    public long Leaks { get; init; }

    /// <summary>The first corruptions, one line each.</summary>
    public IReadOnlyList<string> Details { get; init; } = [];

    /// <summary>The image was not closed: its counts may be late, and the next one to write it counts anew.</summary>
    public bool WasNotClosed { get; init; }

    public long AllocatedClusters { get; init; }

    public long CompressedClusters { get; init; }

    public long TotalClusters { get; init; }
}

/// <summary>Looks a qcow2 image's tables and reference counts over, and mends them.</summary>
public static class ImageCheck
{
    private const int MostDetails = 20;

    /// <exception cref="BadInputException">It cannot be opened, or is no qcow2 image.</exception>
    public static ImageCheckResult Check(string path)
    {
        using IImageFile file = ImageOpener.OpenFile(path, writable: false, direct: false);
        return Check(path, file);
    }

    /// <summary>Counts all references anew, and drops pointers to nowhere.</summary>
    /// <exception cref="BadInputException">It cannot be opened, is no qcow2 image, or is beyond repair.</exception>
    public static void Repair(string path)
    {
        using IImageFile file = ImageOpener.OpenFile(path, writable: true, direct: false);
        Repair(path, file);
    }

    internal static ImageCheckResult Check(string path, IImageFile file)
    {
        Qcow2Header header = Qcow2Header.Read(path, (offset, target) => file.Read(offset, target));
        ReferenceWalk walk = ReferenceWalk.Of(file, header);
        RefcountReader refcounts = RefcountReader.Of(file, header, walk);
        (long corruptions, long leaks) = (0, 0);
        foreach ((long cluster, ulong counted) in refcounts.NonZero())
        {
            ulong used = walk.Counts[cluster];
            if (counted > used)
                leaks++;
            else if (counted < used)
                Wrong(cluster, used, counted);
        }
        foreach ((long cluster, uint used) in walk.Counts.Used())
        {
            if (refcounts.Get(cluster) == 0)
                Wrong(cluster, used, 0);
        }
        long flags = CopiedFlags.CountWrong(file, header, refcounts.Get);
        if (flags > 0)
            walk.Complain($"{flags} entries say wrongly whether they may be written in place");
        return new ImageCheckResult
        {
            Corruptions = corruptions + walk.ErrorCount,
            Leaks = leaks,
            Details = [.. walk.Errors.Take(MostDetails)],
            WasNotClosed = (header.Incompatible & IncompatibleFeatures.Dirty) != 0,
            AllocatedClusters = walk.Allocated,
            CompressedClusters = walk.Compressed,
            TotalClusters = (header.Size + header.ClusterSize - 1) >> header.ClusterBits,
        };

        void Wrong(long cluster, ulong used, ulong counted)
        {
            corruptions++;
            if (walk.Errors.Count < MostDetails)
                walk.Errors.Add($"cluster {cluster} is used {used} times and counted {counted} times");
        }
    }

    internal static void Repair(string path, IImageFile file)
    {
        Qcow2Header header = Qcow2Header.Read(path, (offset, target) => file.Read(offset, target));
        if (header.Version == 2)
            throw new BadInputException($"'{path}' is a qcow2 image of version 2, which is only read: trapline image convert makes one of version 3");
        ReferenceWalk walk = ReferenceWalk.Of(file, header);
        CopiedFlags.Mend(file, header, walk);
        header = RefcountBuilder.Build(path, file, header, walk.Counts);
        byte[] fields = new byte[header.ClusterSize];
        file.Read(0, fields);
        (header with { Incompatible = header.Incompatible & ~(IncompatibleFeatures.Dirty | IncompatibleFeatures.Corrupt) }).WriteSwitched(fields);
        file.Write(0, fields.AsSpan(0, Qcow2Header.SwitchedLength));
        file.Flush();
    }
}
