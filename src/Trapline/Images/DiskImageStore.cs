using Trapline.Core;

namespace Trapline.Images;

/// <summary>A root file system in the cache.</summary>
/// <param name="Name">By which `trapline run --image` knows it.</param>
/// <param name="Path">A raw image of one ext4 file system, which runs must not write.</param>
/// <param name="Length">Bytes of the disk.</param>
/// <param name="Made">When, UTC.</param>
public sealed record StoredDiskImage(string Name, string Path, long Length, DateTime Made);

/// <summary>Root file systems that are built once from the distribution's packages and kept in the user's cache.</summary>
/// <remarks>An image appears whole, by a rename; the last one that was pulled stays. Runs that have the one before go on with it.</remarks>
public sealed class DiskImageStore(string cacheDirectory)
{
    private const string Extension = ".img";

    private string Folder => Path.Combine(cacheDirectory, "images");

    /// <summary>The names that <see cref="PullAsync"/> knows.</summary>
    public static IReadOnlyList<string> Known { get; } = ["debian"];

    /// <summary>The store in $XDG_CACHE_HOME/trapline, by default ~/.cache/trapline.</summary>
    /// <exception cref="BadInputException">There is no home directory.</exception>
    public static DiskImageStore ForUser() => new(GuestImageStore.UserDirectory());

    public IReadOnlyList<StoredDiskImage> List() => !Directory.Exists(Folder) ? []
        : [.. Directory.GetFiles(Folder, "*" + Extension).Order(StringComparer.Ordinal).Select(Describe)];

    /// <summary>An image from the cache.</summary>
    /// <exception cref="BadInputException">It is not there; the message says how to get it.</exception>
    public StoredDiskImage Find(string name)
    {
        string path = Path.Combine(Folder, name + Extension);
        if (Known.Contains(name) && File.Exists(path))
            return Describe(path);
        throw new BadInputException(Known.Contains(name)
            ? $"the image '{name}' is not here yet: trapline image pull {name} builds it"
            : $"the image '{name}' is not known: use {string.Join(", ", Known)}");
    }

    /// <summary>Builds an image anew and puts it in place of the one that is there.</summary>
    /// <exception cref="BadInputException">It cannot be built; the message says why.</exception>
    public async Task<StoredDiskImage> PullAsync(string name, IProgress<FetchProgress>? progress, CancellationToken cancellation)
    {
        if (!Known.Contains(name))
            throw new BadInputException($"the image '{name}' is not known: use {string.Join(", ", Known)}");
        try
        {
            Directory.CreateDirectory(Folder);
            using ScratchDirectory scratch = ScratchDirectory.Create(cacheDirectory);
            string built = await DebianRoot.BuildAsync(scratch, progress, cancellation).ConfigureAwait(false);
            string path = Path.Combine(Folder, name + Extension);
            File.Move(built, path, overwrite: true);
            return Describe(path);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new BadInputException($"cannot write the cache directory '{cacheDirectory}': {e.Message.Split('\n')[0].TrimEnd('.', '\r')}");
        }
    }

    private static StoredDiskImage Describe(string path)
    {
        FileInfo file = new(path);
        return new StoredDiskImage(Path.GetFileNameWithoutExtension(path), path, file.Length, file.LastWriteTimeUtc);
    }
}
