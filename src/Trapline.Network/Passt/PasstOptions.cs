using Trapline.Core;

namespace Trapline.Network.Passt;

/// <summary>What the network that passt provides looks like to the guest.</summary>
public sealed record PasstOptions
{
    /// <summary>The guest's address and the host's within the guest's network: 10.0.2.0/24, as users of other monitors know it.</summary>
    public const string Guest4 = "10.0.2.15", Gateway4 = "10.0.2.2";

    public const int Prefix4 = 24, Prefix6 = 64;

    /// <summary>A unique local address (RFC 4193), where the host has IPv6.</summary>
    public const string Guest6 = "fd54:7261:706c::15", Network6 = "fd54:7261:706c::", Gateway6 = "fe80::2";

    /// <summary>The gateway's card.</summary>
    public static MacAddress Gateway { get; } = new(0x52_54_00_12_35_02);

    /// <summary>So large that the guest sends what a host's socket takes at once. In bytes, without the Ethernet header.</summary>
    public const int Mtu = 65_520;

    public IReadOnlyList<PublishedPort> Published { get; init; } = [];
}
