using System.Globalization;
using System.Net.Sockets;
using Trapline.Host;

namespace Trapline.Network.Passt;

/// <summary>How passt is called (passt(1)).</summary>
internal static class PasstArguments
{
    public static IReadOnlyList<string> Make(PasstOptions options, HostRoutes routes)
    {
        List<string> arguments =
        [
            // In the foreground it ends with the socket, and its number is the one that we know.
            "--foreground", "--quiet", "--fd", Number(HelperProcess.SocketNumber),
            "--mtu", Number(PasstOptions.Mtu), "--mac-addr", PasstOptions.Gateway.ToString(),
            "--address", PasstOptions.Guest4, "--netmask", Number(PasstOptions.Prefix4), "--gateway", PasstOptions.Gateway4,
            // The gateway answers for the host's resolver, which may listen at an address of the host's alone.
            "--dns-forward", PasstOptions.Gateway4,
        ];
        if (HasIp6(options, routes))
            arguments.AddRange(["--address", PasstOptions.Guest6, "--gateway", PasstOptions.Gateway6]);
        else
            arguments.Add("--ipv4-only");
        if (routes is { HasDefault4: false, HasDefault6: false })
            arguments.AddRange(["--interface", "lo"]);
        foreach (PublishedPort port in options.Published)
        {
            // One option for each port: with addresses, lists are not taken.
            arguments.Add(port.IsUdp ? "--udp-ports" : "--tcp-ports");
            arguments.Add($"{port.HostAddress}/{Number(port.HostPort)}:{Number(port.GuestPort)}");
        }
        return arguments;
    }

    public static bool HasIp6(PasstOptions options, HostRoutes routes) =>
        routes.HasDefault6 || options.Published.Any(p => p.HostAddress.AddressFamily == AddressFamily.InterNetworkV6);

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
