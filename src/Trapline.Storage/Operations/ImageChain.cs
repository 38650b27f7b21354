namespace Trapline.Storage.Operations;

/// <summary>A range of a disk, and the image of its chain that says what is in it.</summary>
/// <param name="Kind">Data, Compressed or Zero; Unallocated where no image of the chain has anything.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Depth">0 for the image itself, 1 for what it is based on, and so on.</param>
/// <param name="Image">That one.</param>
/// <param name="HostOffset">Where in its file, for data; else -1.</param>
public readonly record struct ChainExtent(ExtentKind Kind, long Length, int Depth, DiskImage Image, long HostOffset);

/// <summary>An image and what it is based on, looked through.</summary>
public static class ImageChain
{
    /// <summary>What lies at an offset, and how far it goes on so.</summary>
    public static ChainExtent At(DiskImage image, long offset)
    {
        long most = image.Length - offset;
        for (int depth = 0; ; depth++)
        {
            Extent extent = image.ExtentAt(offset);
            most = Math.Min(most, extent.Length);
            DiskImage? below = image.Backing;
            if (extent.Kind != ExtentKind.Unallocated || below == null || offset >= below.Length)
                return new ChainExtent(extent.Kind, most, depth, image, extent.HostOffset);
            most = Math.Min(most, below.Length - offset);
            image = below;
        }
    }

    /// <summary>All of a disk in order; neighbours that are alike are one.</summary>
    public static IEnumerable<(long Start, ChainExtent Extent)> Map(DiskImage image)
    {
        long start = 0;
        ChainExtent? open = null;
        for (long at = 0; at < image.Length;)
        {
            ChainExtent next = At(image, at);
            at += next.Length;
            if (open is { } before && Continues(before, next))
            {
                open = before with { Length = before.Length + next.Length };
                continue;
            }
            if (open is { } done)
            {
                yield return (start, done);
                start += done.Length;
            }
            open = next;
        }
        if (open is { } last)
            yield return (start, last);
    }

    private static bool Continues(in ChainExtent before, in ChainExtent next) =>
        before.Kind == next.Kind && before.Depth == next.Depth
        && (before.HostOffset < 0 ? next.HostOffset < 0 : next.HostOffset == before.HostOffset + before.Length);
}
