using System.Globalization;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>`--vsock`: PATH[,cid=N].</summary>
internal static class VsockArgument
{
    private const uint FirstCid = 3, LastCid = uint.MaxValue - 1;

    /// <exception cref="BadInputException">It makes no sense.</exception>
    public static SocketDevice Parse(string option, string text)
    {
        int comma = text.LastIndexOf(",cid=", StringComparison.Ordinal);
        string path = comma < 0 ? text : text[..comma];
        uint cid = FirstCid;
        if (comma >= 0 && (!uint.TryParse(text[(comma + 5)..], NumberStyles.None, CultureInfo.InvariantCulture, out cid) || cid is < FirstCid or > LastCid))
            throw new BadInputException($"{option} '{text}': cid must be a number from {FirstCid}");
        return path.Length > 0 ? new SocketDevice(path, cid) : throw new BadInputException($"{option} '{text}' names no socket: write PATH[,cid=N]");
    }
}
