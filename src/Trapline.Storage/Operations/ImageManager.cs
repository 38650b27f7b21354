using Trapline.Core;
using Trapline.Storage.Files;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage.Operations;

/// <summary>Opens images in the ways that only managing them needs.</summary>
public static class ImageManager
{
    /// <summary>A qcow2 image for writing, whose backing image is open for writing, too.</summary>
    /// <exception cref="BadInputException">It cannot be opened so.</exception>
    public static Qcow2Image OpenForCommit(string path)
    {
        IImageFile file = ImageOpener.OpenFile(path, writable: true, direct: false);
        DiskImage? below = null;
        try
        {
            Qcow2Header header = Qcow2Header.Read(path, (offset, target) => file.Read(offset, target));
            DiskSpecification disk = ImageOpener.BackingOf(path, header, CacheMode.Writeback)
                ?? throw new BadInputException($"'{path}' is based on no other image: there is nothing to commit it to");
            below = DiskImage.Open(disk with { ReadOnly = false, Unmap = true });
            return new Qcow2Image(file, header, below, new ImageOptions(path) { Unmap = true });
        }
        catch
        {
            below?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <summary>A qcow2 image.</summary>
    /// <exception cref="BadInputException">It cannot be opened, or is a raw one.</exception>
    public static Qcow2Image OpenQcow2(string path, ImageFormat? format, bool readOnly)
    {
        DiskImage image = DiskImage.Open(new DiskSpecification { Path = path, Format = format, ReadOnly = readOnly, Unmap = true });
        if (image is Qcow2Image qcow2)
            return qcow2;
        image.Dispose();
        throw new BadInputException($"'{path}' is a raw image: only qcow2 images can do that");
    }

    /// <summary>Changes what a closed image says it is based on, and nothing else.</summary>
    /// <param name="path">The image.</param>
    /// <param name="backing">As it is to be named, relative to the image's folder; null for none.</param>
    /// <param name="format">Of the backing image.</param>
    /// <exception cref="BadInputException">The image cannot be written, or the name is too long for it.</exception>
    public static void SetBacking(string path, string? backing, ImageFormat format)
    {
        using IImageFile file = ImageOpener.OpenFile(path, writable: true, direct: false);
        Qcow2Header header = Qcow2Header.Read(path, (offset, target) => file.Read(offset, target));
        if (header.Version == 2)
            throw new BadInputException($"'{path}' is a qcow2 image of version 2, which is only read: trapline image convert makes one of version 3");
        header = header with { BackingName = backing, BackingFormat = backing == null ? null : format == ImageFormat.Raw ? "raw" : "qcow2" };
        file.Write(0, header.ToCluster(path));
        file.Flush();
    }

    /// <summary>The file behind the name that an image in some folder gives its backing image.</summary>
    public static string ResolveBacking(string image, string backing) => Path.Combine(Path.GetDirectoryName(image) ?? "", backing);
}
