using System.Globalization;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>`--vsock`: PATH[,cid=N].</summary>
internal static class VsockArgument
{
    private const uint FirstCid = 3, LastCid = uint.MaxValue - 1;

    /// <param name="otherwise">The cid if the text has none.</param>
    /// <exception cref="BadInputException">It makes no sense.</exception>
    public static SocketDevice Parse(string option, string text, uint otherwise = FirstCid)
    {
        int comma = text.LastIndexOf(",cid=", StringComparison.Ordinal);
        string path = comma < 0 ? text : text[..comma];
        uint cid = otherwise;
        if (comma >= 0 && (!uint.TryParse(text[(comma + 5)..], NumberStyles.None, CultureInfo.InvariantCulture, out cid) || cid is < FirstCid or > LastCid))
            throw new BadInputException($"{option} '{text}': cid must be a number from {FirstCid}");
        return path.Length > 0 ? new SocketDevice(path, cid) : throw new BadInputException($"{option} '{text}' names no socket: write PATH[,cid=N]");
    }

    /// <summary>The sockets of a saved machine, where the user wants them; its cid is known to its guest and stays.</summary>
    /// <param name="given">With cid 0 if the user named none; null: nobody reaches the guest, nor it the host.</param>
    /// <exception cref="BadInputException">The machine has no sockets, or another cid.</exception>
    public static SocketDevice? ForSaved(SocketDevice? given, SocketDevice? saved)
    {
        if (given is null)
            return saved;
        if (saved is null)
            throw new BadInputException($"--vsock '{given.Path}': the saved machine has no sockets");
        return given.Cid == 0 || given.Cid == saved.Cid ? saved with { Path = given.Path }
            : throw new BadInputException($"--vsock '{given.Path},cid={given.Cid}': the saved machine's cid is {saved.Cid} and stays");
    }
}
