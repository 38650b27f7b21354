using Trapline.Core;
using Trapline.Host;
using Trapline.Storage.Files;

namespace Trapline.Storage;

/// <summary>From a file's name to an open image: lock, format, and what it is based on.</summary>
internal static class ImageOpener
{
    public static DiskImage Open(DiskSpecification disk)
    {
        ImageOptions options = new(disk.Path) { ReadOnly = disk.ReadOnly, Unmap = disk.Unmap, Cache = disk.Cache };
        IImageFile file = OpenFile(disk.Path, !disk.ReadOnly, disk.Cache == CacheMode.None);
        try
        {
            return (disk.Format ?? Guess(file, disk.Path)) switch
            {
                ImageFormat.Raw => OpenRaw(file, options),
                ImageFormat.Qcow2 => throw new BadInputException($"'{disk.Path}': qcow2 images cannot be opened yet"),
                _ => throw new ArgumentOutOfRangeException(nameof(disk)),
            };
        }
        catch (Exception e)
        {
            file.Dispose();
            if (e is IOException)
                throw new BadInputException($"'{disk.Path}' cannot be read: {e.Message}");
            throw;
        }
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

    private static RawImage OpenRaw(IImageFile file, ImageOptions options)
    {
        RawImage image = new(file, options);
        return image.Length > 0 ? image : throw new BadInputException($"'{options.Path}' is empty: a disk has at least {DiskImage.SectorSize} bytes");
    }

    private static ImageFormat Guess(IImageFile file, string path)
    {
        Span<byte> start = stackalloc byte[4];
        file.Read(0, start);
        return FormatGuess.Of(path, start);
    }
}
