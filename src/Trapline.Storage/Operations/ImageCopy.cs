using Trapline.Core;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage.Operations;

/// <summary>Copies between images: convert, commit, rebase. What reads as zeroes is not stored.</summary>
public static class ImageCopy
{
    private const int Chunk = 2 << 20;

    /// <summary>Zeroes of this many bytes within data become holes.</summary>
    private const int Grain = 4096;

    /// <summary>Copies a disk into one that is new, as long, and stands alone.</summary>
    /// <param name="compress">Into compressed clusters; the target is a qcow2 image.</param>
    /// <param name="progress">Bytes of the disk that are done.</param>
    public static void Convert(DiskImage source, DiskImage target, bool compress, IProgress<long>? progress)
    {
        int unit = compress ? ((Qcow2Image)target).ClusterSize : Chunk;
        byte[] buffer = new byte[Math.Max(unit, Chunk)];
        for (long at = 0; at < source.Length;)
        {
            // Whole clusters at a time if they are to be compressed: what a part of one is, is found by reading it.
            ChainExtent extent = ImageChain.At(source, at);
            bool stored = extent.Kind is ExtentKind.Data or ExtentKind.Compressed;
            long length = compress
                ? Math.Min(stored || extent.Length < unit ? unit : extent.Length & -unit, source.Length - at)
                : Math.Min(extent.Length, stored ? unit - (at & (unit - 1)) : long.MaxValue);
            if (stored || (compress && extent.Length < unit))
            {
                Span<byte> part = buffer.AsSpan(0, (int)length);
                source.Read(at, part);
                if (!compress)
                    WriteNonZero(target, at, part);
                else if (part.ContainsAnyExcept((byte)0))
                    ((Qcow2Image)target).WriteCompressed(at, part);
            }
            at += length;
            progress?.Report(at);
        }
        target.Flush();
    }

    /// <summary>Writes what an image has into the one it is based on, and empties it.</summary>
    /// <param name="image">Its backing image is open for writing.</param>
    /// <param name="keep">Does not empty it.</param>
    /// <param name="progress">Bytes of the disk that are done.</param>
    public static void Commit(Qcow2Image image, bool keep, IProgress<long>? progress)
    {
        DiskImage below = image.Backing ?? throw new BadInputException($"'{image.Path}' is based on no other image: there is nothing to commit it to");
        if (below.Length < image.Length)
            below.Resize(image.Length);
        byte[] buffer = new byte[Chunk];
        for (long at = 0; at < image.Length;)
        {
            Extent extent = image.ExtentAt(at);
            bool stored = extent.Kind is ExtentKind.Data or ExtentKind.Compressed;
            long length = stored ? Math.Min(extent.Length, Chunk) : extent.Length;
            if (stored)
            {
                image.Read(at, buffer.AsSpan(0, (int)length));
                below.Write(at, buffer.AsSpan(0, (int)length));
            }
            else if (extent.Kind == ExtentKind.Zero)
                below.WriteZeroes(at, length, mayUnmap: true);
            at += length;
            progress?.Report(at);
        }
        below.Flush();
        if (!keep)
            image.Empty();
    }

    /// <summary>Before an image gets another backing image: stores in it what would read differently then.</summary>
    /// <param name="image">With the backing image that it has.</param>
    /// <param name="next">The one that it will have; null for none.</param>
    /// <param name="progress">Bytes of the disk that are done.</param>
    public static void KeepContent(Qcow2Image image, DiskImage? next, IProgress<long>? progress)
    {
        byte[] now = new byte[Chunk], then = new byte[Chunk];
        for (long at = 0; at < image.Length;)
        {
            Extent extent = image.ExtentAt(at);
            long length = extent.Length;
            if (extent.Kind == ExtentKind.Unallocated)
            {
                length = Math.Min(length, Chunk - (at & (Chunk - 1)));
                Span<byte> part = now.AsSpan(0, (int)length), other = then.AsSpan(0, (int)length);
                image.Read(at, part);
                int there = (int)Math.Clamp((next?.Length ?? 0) - at, 0, length);
                other.Clear();
                if (there > 0)
                    next!.Read(at, other[..there]);
                WriteDifferent(image, at, part, other);
            }
            at += length;
            progress?.Report(at);
        }
        image.Flush();
    }

    private static void WriteNonZero(DiskImage target, long at, ReadOnlySpan<byte> part)
    {
        for (int from = 0; from < part.Length;)
        {
            int to = from;
            while (to < part.Length && part[to..Math.Min(to + Grain, part.Length)].ContainsAnyExcept((byte)0))
                to = Math.Min(to + Grain, part.Length);
            if (to > from)
                target.Write(at + from, part[from..to]);
            from = to == part.Length ? to : Math.Min(to + Grain, part.Length);
        }
    }

    private static void WriteDifferent(Qcow2Image image, long at, ReadOnlySpan<byte> now, ReadOnlySpan<byte> then)
    {
        int cluster = image.ClusterSize;
        for (int from = 0; from < now.Length;)
        {
            int length = Math.Min(cluster - (int)((at + from) & (cluster - 1)), now.Length - from);
            ReadOnlySpan<byte> part = now.Slice(from, length);
            if (!part.SequenceEqual(then.Slice(from, length)))
            {
                if (part.ContainsAnyExcept((byte)0))
                    image.Write(at + from, part);
                else
                    image.WriteZeroes(at + from, length, mayUnmap: false);
            }
            from += length;
        }
    }
}
