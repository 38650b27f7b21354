using Trapline.Core;
using Trapline.Host;
using Trapline.Storage.Files;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage;

/// <summary>From a file's name to an open image: lock, format, and the chain of images it is based on.</summary>
internal static class ImageOpener
{
    private const int LongestChain = 64;

    public static DiskImage Open(DiskSpecification disk) => Open(disk, []);

    /// <param name="disk">What to open.</param>
    /// <param name="above">The files whose chain leads here.</param>
    private static DiskImage Open(DiskSpecification disk, IReadOnlyList<string> above)
    {
        ImageOptions options = new(disk.Path) { ReadOnly = disk.ReadOnly, Unmap = disk.Unmap, Cache = disk.Cache };
        IImageFile file = OpenFile(disk.Path, !disk.ReadOnly, disk.Cache == CacheMode.None);
        DiskImage? backing = null;
        try
        {
            if (disk.Cache == CacheMode.Unsafe)
                file = new UnflushedFile(file);
            if ((disk.Format ?? Guess(file, disk.Path)) == ImageFormat.Raw)
                return new RawImage(file, options);
            Qcow2Header header = Qcow2Header.Read(disk.Path, (offset, target) => file.Read(offset, target));
            if (BackingOf(disk.Path, header, disk.Cache) is { } below)
                backing = Open(below, [.. above, CheckedChain(disk.Path, below.Path, above)]);
            return new Qcow2Image(file, header, backing, options);
        }
        catch (Exception e)
        {
            backing?.Dispose();
            file.Dispose();
            if (e is IOException)
                throw new BadInputException(e.Message.Contains(disk.Path, StringComparison.Ordinal) ? e.Message : $"'{disk.Path}' cannot be read: {e.Message}");
            throw;
        }
    }

    /// <summary>What a qcow2 image is based on, as it says itself; names are relative to its own folder.</summary>
    internal static DiskSpecification? BackingOf(string path, Qcow2Header header, CacheMode cache)
    {
        if (header.BackingName is not { } name)
            return null;
        int colon = name.IndexOf(':', StringComparison.Ordinal), slash = name.IndexOf('/', StringComparison.Ordinal);
        if (colon >= 0 && (slash < 0 || colon < slash))
            throw new BadInputException($"'{path}' is based on '{name}': only files can be backing images");
        return new DiskSpecification
        {
            Path = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(path) ?? "", name),
            Cache = cache == CacheMode.Unsafe ? CacheMode.Writeback : cache,
            ReadOnly = true,
            Format = header.BackingFormat switch
            {
                null => null,
                "raw" => ImageFormat.Raw,
                "qcow2" => ImageFormat.Qcow2,
                { } other => throw new BadInputException($"'{path}' is based on '{name}' of the format '{other}': raw and qcow2 can be used"),
            },
        };
    }

    /// <summary>The file behind an image, locked.</summary>
    internal static IImageFile OpenFile(string path, bool writable, bool direct)
    {
        HostFile? file = null;
        try
        {
            if (direct)
                file = TryOpenDirect(path, writable);
            bool isDirect = file != null;
            file ??= HostFile.Open(path, writable);
            ImageLock.Take(file, path, writable);
            return isDirect ? new DirectImageFile(file) : new HostImageFile(file);
        }
        catch (Exception e)
        {
            file?.Dispose();
            if (e is IOException)
                throw new BadInputException($"'{path}' cannot be opened: {e.Message}");
            throw;
        }
    }

    internal static ImageFormat Guess(IImageFile file, string path)
    {
        Span<byte> start = stackalloc byte[4];
        file.Read(0, start);
        return FormatGuess.Of(path, start);
    }

    private static string CheckedChain(string path, string below, IReadOnlyList<string> above)
    {
        string full = System.IO.Path.GetFullPath(path), next = System.IO.Path.GetFullPath(below);
        if (next == full || above.Contains(next))
            throw new BadInputException($"'{path}' is based on '{below}', which is based on it: no image can be read like this");
        if (above.Count == LongestChain)
            throw new BadInputException($"'{path}' ends a chain of {LongestChain} images and is based on one more: shorten it by trapline image rebase or commit");
        return full;
    }

    /// <summary>Null where the file system has no direct I/O; what else may be wrong, opening it as usual tells.</summary>
    private static HostFile? TryOpenDirect(string path, bool writable)
    {
        try
        {
            return HostFile.Open(path, writable, direct: true);
        }
        catch (IOException)
        {
            return null;
        }
    }
}
