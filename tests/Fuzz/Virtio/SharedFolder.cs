using Trapline.Host;

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
        using ConfinedFolder shared = ConfinedFolder.Open(Path.Combine(folder, "shared"), readOnly: false);
        Empty(shared, ConfinedFolder.Self.ToArray());
    }

    /// <summary>By bytes: a guest's names need not be UTF-8, and its modes may keep their owner out.</summary>
    private static void Empty(ConfinedFolder root, byte[] path)
    {
        root.Change(path, null, new FileChanges(0x1C0, null, default, default), out _);
        if (root.OpenListing(path, null, out ConfinedListing? listing, out _) != LinuxError.None)
            return;
        using (listing)
        {
            byte[] bytes = new byte[4096];
            while (listing!.Read(0, bytes, out int length) == LinuxError.None)
            {
                int removed = 0;
                ReadOnlySpan<byte> entries = bytes.AsSpan(0, length);
                while (FolderEntry.TryTake(ref entries, out FolderEntry entry))
                {
                    if (root.Remove(path, entry.Name, isFolder: false) == LinuxError.IsFolder)
                    {
                        Empty(root, [.. path[..^1], (byte)'/', .. entry.Name]);
                        root.Remove(path, entry.Name, isFolder: true);
                    }
                    removed += ConfinedFolder.IsName(entry.Name) ? 1 : 0;
                }
                if (removed == 0)
                    return;
            }
        }
    }
}
