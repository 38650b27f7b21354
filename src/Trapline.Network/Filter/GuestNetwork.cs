using System.Net;

namespace Trapline.Network.Filter;

/// <summary>The network as its guest should see it: what a filter takes as given.</summary>
/// <param name="Guest4">The only IPv4 address from which the guest may send.</param>
/// <param name="Gateway4">The host.</param>
/// <param name="Guest6">A network of 64 bits: the guest's IPv6 addresses are in it, or link-local.</param>
/// <param name="NameServers">Where names are asked for.</param>
/// <param name="PublishedPorts">Of the guest.</param>
internal sealed record GuestNetwork(
    IPAddress Guest4, IPAddress Gateway4, IPNetwork Guest6, IPAddress Gateway6, IReadOnlyList<IPAddress> NameServers, IReadOnlyList<PublishedPort> PublishedPorts);
