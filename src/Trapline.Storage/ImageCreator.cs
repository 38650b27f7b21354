using Trapline.Core;
using Trapline.Host;
using Trapline.Storage.Files;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage;

/// <summary>Makes images; a file that is there already loses its content, unless somebody uses it.</summary>
public static class ImageCreator
{
    /// <param name="path">The file.</param>
    /// <param name="length">Bytes of the disk.</param>
    /// <param name="preallocate">Takes the space on the host now.</param>
    /// <exception cref="BadInputException">It cannot be made.</exception>
    public static void CreateRaw(string path, long length, bool preallocate)
    {
        if (length <= 0 || length % DiskImage.SectorSize != 0)
            throw new BadInputException($"'{path}' cannot have {length} bytes: give a multiple of {DiskImage.SectorSize}");
        Make(path, file =>
        {
            file.SetLength(length);
            if (preallocate && !file.Preallocate(0, length))
                throw new BadInputException($"'{path}': this file system cannot take space in advance: leave preallocation out");
        });
    }

    /// <exception cref="BadInputException">It cannot be made so.</exception>
    public static void CreateQcow2(string path, Qcow2Settings settings) =>
        Make(path, file => Qcow2Creator.Create(path, new HostImageFile(file), settings));

    private static void Make(string path, Action<HostFile> fill)
    {
        try
        {
            using HostFile file = HostFile.Create(path);
            ImageLock.Take(file, path, writable: true);
            file.SetLength(0);
            fill(file);
        }
        catch (IOException e)
        {
            throw new BadInputException($"'{path}' cannot be made: {e.Message}");
        }
    }
}
