using System.Net;

namespace Trapline.Network.Passt;

/// <summary>The name servers of the host (resolv.conf(5)), which passt's DHCP server tells guests that ask.</summary>
internal static class HostResolvers
{
    private const string Path = "/etc/resolv.conf";

    public static IReadOnlyList<IPAddress> Read()
    {
        try
        {
            return Parse(File.ReadLines(Path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>Those that a guest can reach: a loopback address is the host's alone.</summary>
    internal static IReadOnlyList<IPAddress> Parse(IEnumerable<string> lines) =>
        [.. lines.Select(l => l.Split(default(char[]), StringSplitOptions.RemoveEmptyEntries)).Where(w => w is ["nameserver", _, ..])
            .Select(w => IPAddress.TryParse(w[1], out IPAddress? address) ? address : null).OfType<IPAddress>().Where(a => !IPAddress.IsLoopback(a))];
}
