using System.Text;
using Trapline.Core;
using Trapline.Virtio.FileSystem;

namespace Trapline.Machine;

/// <summary>A folder of the host that the guest can mount (virtio-fs).</summary>
/// <param name="Tag">By which the guest knows it; the default guest mounts it at /mnt/TAG.</param>
/// <param name="Folder">Null in a saved machine: whoever goes on with it names the folder.</param>
/// <param name="ReadOnly">The guest can change nothing in it, whatever it mounts it as.</param>
public sealed record ShareDevice(string Tag, string? Folder, bool ReadOnly = false)
{
    /// <summary>What is wrong with a tag, to be said after it; null if nothing is.</summary>
    public static string? Complaint(string tag) =>
        tag.Length == 0 ? "is empty: a tag is a name, such as src"
        : Encoding.UTF8.GetByteCount(tag) > VirtioFileSystem.MostTagBytes ? $"is too long: a tag has up to {VirtioFileSystem.MostTagBytes} bytes"
        : tag is "." or ".." || !tag.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-') ? "is no tag: use letters, digits, '.', '_' and '-'"
        : null;

    /// <exception cref="BadInputException">A tag cannot be used, or is used twice.</exception>
    internal static void Check(IReadOnlyList<ShareDevice> shares)
    {
        foreach (ShareDevice share in shares)
        {
            if (Complaint(share.Tag) is { } complaint)
                throw new BadInputException($"share '{share.Tag}' {complaint}");
            if (shares.Count(s => s.Tag == share.Tag) > 1)
                throw new BadInputException($"share '{share.Tag}' is there twice: give each a tag of its own");
        }
    }

    /// <exception cref="BadInputException">The shares are not those of the machine that was saved, or have no folders.</exception>
    internal static void CheckContinued(IReadOnlyList<ShareDevice> before, IReadOnlyList<ShareDevice> now)
    {
        foreach (ShareDevice old in before)
        {
            if (now.All(s => s.Tag != old.Tag || s.Folder is null))
                throw new BadInputException($"share '{old.Tag}' of the saved machine is missing: give it with --share DIR:{old.Tag}; its content is not in the snapshot");
        }
        if (!now.Select(s => s.Tag).SequenceEqual(before.Select(s => s.Tag)))
            throw new BadInputException("devices: a machine goes on with the shares that it had, in their order");
    }
}
