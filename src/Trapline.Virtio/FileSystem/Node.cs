using Trapline.Host;

namespace Trapline.Virtio.FileSystem;

/// <summary>A file that the guest knows by a number: where it was found, and which file it is.</summary>
/// <remarks>Nothing of the host's is held for it. It is looked up anew by its path whenever something is done to it, and must be the same file then.</remarks>
internal sealed class Node(ulong id, Node? parent, byte[] name, FileKind kind)
{
    /// <summary>Of a file that is gone.</summary>
    public static FileIdentity Lost => default;

    public ulong Id => id;

    /// <summary>The folder that it is in; null for the shared folder itself.</summary>
    public Node? Parent { get; set; } = parent;

    /// <summary>With the zero that ends it.</summary>
    public byte[] Name { get; set; } = name;

    public FileKind Kind => kind;

    /// <summary>Which file it must be; null for whichever is there: the shared folder's.</summary>
    public FileIdentity? Identity { get; set; }

    /// <summary>How often the guest was told of it and has not forgotten it.</summary>
    public ulong Lookups { get; set; }

    /// <summary>As it was when the guest last opened it: what the guest has cached since is still right if it is so now.</summary>
    public FileVersion Opened { get; set; }
}

/// <summary>What changes when a file's content does.</summary>
internal readonly record struct FileVersion(ulong Length, FileTime Modified, FileTime Changed)
{
    public static FileVersion Of(in FileFacts facts) => new(facts.Length, facts.Modified, facts.Changed);
}
