using System.Net;
using Trapline.Core;
using Trapline.Network.Filter;
using Trapline.Network.Passt;

namespace Trapline.Network;

/// <summary>The host's network for a guest, without privileges: passt, and before it a filter if the guest is not to reach everything.</summary>
public static class UserNetwork
{
    /// <param name="published">Ports of the host that lead to the guest.</param>
    /// <param name="allowed">All that the guest reaches; null for everything.</param>
    /// <param name="report">Is given a line for people if the network is lost. From any thread.</param>
    /// <param name="hasIp6">The guest's network has IPv6 beside IPv4.</param>
    /// <exception cref="BadInputException">passt is not installed, cannot run here, or a port is taken.</exception>
    public static INetworkBackend Start(IReadOnlyList<PublishedPort> published, AllowList? allowed, Action<string> report, out bool hasIp6)
    {
        PasstBackend passt = PasstBackend.Start(new PasstOptions { Published = published }, report);
        hasIp6 = passt.HasIp6;
        return allowed is null ? passt : new FilteredBackend(passt, allowed, Describe(published));
    }

    private static GuestNetwork Describe(IReadOnlyList<PublishedPort> published)
    {
        IPAddress gateway = IPAddress.Parse(PasstOptions.Gateway4);
        return new GuestNetwork(
            IPAddress.Parse(PasstOptions.Guest4), gateway, new IPNetwork(IPAddress.Parse(PasstOptions.Network6), PasstOptions.Prefix6), IPAddress.Parse(PasstOptions.Gateway6),
            [gateway, .. HostResolvers.Read()], published);
    }
}
