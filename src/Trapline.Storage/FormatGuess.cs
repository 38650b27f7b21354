using Trapline.Core;

namespace Trapline.Storage;

/// <summary>Which format a file has that the user did not state.</summary>
/// <remarks>
/// A raw disk's first bytes are the guest's: were they believed, a guest could write a qcow2 header there whose backing file is any file of the host, and
/// read that after the next start. So the name decides, and a name and content that disagree are refused.
/// </remarks>
public static class FormatGuess
{
    private const string Extension = ".qcow2";

    /// <summary>"QFI\xfb", as a big-endian number (qcow2: Header).</summary>
    internal const uint Qcow2Magic = 0x514649FB;

    /// <exception cref="BadInputException">Name and content disagree.</exception>
    internal static ImageFormat Of(string path, ReadOnlySpan<byte> start)
    {
        bool magic = HasQcow2Magic(start);
        if (path.EndsWith(Extension, StringComparison.OrdinalIgnoreCase))
            return magic ? ImageFormat.Qcow2 : throw new BadInputException($"'{path}' is no qcow2 image in spite of its name: state its format, raw or qcow2");
        return !magic ? ImageFormat.Raw : throw new BadInputException(
            $"'{path}' has no name that ends in .qcow2 but begins like such an image: state its format, qcow2, or raw if a guest may have written that");
    }

    internal static bool HasQcow2Magic(ReadOnlySpan<byte> start) =>
        start.Length >= 4 && System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(start) == Qcow2Magic;
}
