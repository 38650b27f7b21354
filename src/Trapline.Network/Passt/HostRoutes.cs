namespace Trapline.Network.Passt;

/// <summary>Whether the host has a way out, as its kernel says in /proc/net. passt takes its interface for a template and will not start without one.</summary>
/// <param name="HasDefault4">IPv4.</param>
/// <param name="HasDefault6">IPv6.</param>
internal readonly record struct HostRoutes(bool HasDefault4, bool HasDefault6)
{
    public static HostRoutes Read() => Parse(Lines("/proc/net/route"), Lines("/proc/net/ipv6_route"));

    /// <param name="routes">The lines of /proc/net/route: interface, destination, gateway, flags, ..., mask.</param>
    /// <param name="routes6">Those of /proc/net/ipv6_route: destination, its prefix, source, its prefix, next hop, ..., interface.</param>
    internal static HostRoutes Parse(IEnumerable<string> routes, IEnumerable<string> routes6) => new(
        routes.Select(Fields).Any(f => f is [_, "00000000", _, _, _, _, _, "00000000", ..]),
        routes6.Select(Fields).Any(f => f is ["00000000000000000000000000000000", "00", ..] && f[^1] != "lo"));

    private static string[] Fields(string line) => line.Split(default(char[]), StringSplitOptions.RemoveEmptyEntries);

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
