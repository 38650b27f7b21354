namespace Trapline.Fuzz.Virtio;

/// <summary>A folder that is shared with a hostile guest, and what lies beside it, which must stay as it is.</summary>
internal sealed class SharedFolder(string folder) : IDisposable
{
    private const string Secret = "nobody's business";

    /// <summary>Makes the folder in another one; returns its path.</summary>
    public static string Make(string folder)
    {
        string shared = Directory.CreateDirectory(Path.Combine(folder, "shared")).FullName;
        File.WriteAllText(Path.Combine(folder, "secret"), Secret);
        Directory.CreateDirectory(Path.Combine(shared, "d", "e"));
        File.WriteAllText(Path.Combine(shared, "a"), "something to read");
        File.CreateSymbolicLink(Path.Combine(shared, "out"), "../secret");
        Directory.CreateSymbolicLink(Path.Combine(shared, "d", "up"), "../..");
        return shared;
    }

    /// <exception cref="InvalidOperationException">The guest got out.</exception>
    public void Dispose()
    {
        string[] there = [.. Directory.GetFileSystemEntries(folder).Select(e => Path.GetFileName(e)).Order(StringComparer.Ordinal)];
        if (!there.SequenceEqual(["secret", "shared"]) || File.ReadAllText(Path.Combine(folder, "secret")) != Secret)
            throw new InvalidOperationException($"the guest got out of the shared folder: {string.Join(' ', there)}");
        Loosen(new DirectoryInfo(Path.Combine(folder, "shared")));
    }

    /// <summary>Modes that keep their owner from removing them are the guest's choice.</summary>
    private static void Loosen(DirectoryInfo folder)
    {
        folder.UnixFileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        foreach (DirectoryInfo inner in folder.GetDirectories())
        {
            if (inner.LinkTarget is null)
                Loosen(inner);
        }
    }
}
