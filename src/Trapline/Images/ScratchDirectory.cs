namespace Trapline.Images;

/// <summary>A folder for work in progress beside its destination; it goes away, with the parents made for it if they are still empty.</summary>
internal sealed class ScratchDirectory : IDisposable
{
    private const string Prefix = ".fetch-";

    private readonly string _path;
    private readonly List<string> _createdParents;

    private ScratchDirectory(string path, List<string> createdParents)
    {
        _path = path;
        _createdParents = createdParents;
    }

    public static ScratchDirectory Create(string parent)
    {
        List<string> created = [];
        for (string? missing = parent; missing != null && !Directory.Exists(missing); missing = Path.GetDirectoryName(missing))
            created.Add(missing);
        Directory.CreateDirectory(parent);
        RemoveLeftovers(parent);
        string path = Path.Combine(parent, $"{Prefix}{Environment.ProcessId}-{Guid.NewGuid():N}");
        try
        {
            Directory.CreateDirectory(path);
        }
        catch
        {
            RemoveEmpty(created);
            throw;
        }
        return new ScratchDirectory(path, created);
    }

    public string MakeDirectory(string name) => Directory.CreateDirectory(Path.Combine(_path, name)).FullName;

    public void Dispose()
    {
        Remove(_path);
        RemoveEmpty(_createdParents);
    }

    /// <summary>Removes what killed processes left behind: nobody fetches for a day.</summary>
    private static void RemoveLeftovers(string parent)
    {
        foreach (string old in Directory.GetDirectories(parent, Prefix + "*"))
        {
            if (DateTime.UtcNow - Directory.GetLastWriteTimeUtc(old) > TimeSpan.FromDays(1))
                Remove(old);
        }
    }

    private static void Remove(string path)
    {
        try
        {
            if (Directory.Exists(path))
                Directory.Delete(path, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next fetch removes it.
        }
    }

    private static void RemoveEmpty(List<string> directories)
    {
        foreach (string directory in directories)
        {
            try
            {
                Directory.Delete(directory);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return;
            }
        }
    }
}
