using Trapline.Core;
using Trapline.Machine;
using Trapline.Network;
using Trapline.Network.Passt;

namespace Trapline.Networks;

/// <summary>Makes network cards and what they are connected to.</summary>
/// <example>
/// <code>
/// NetworkDevice card = new NetworkConnection { Published = [PublishedPort.Parse("", "8080:80")] }.Open(NetworkSpecification.User);
/// MachineSpecification specification = new() { Devices = new DeviceSpecification { Networks = [card] } };
/// </code>
/// </example>
public sealed record NetworkConnection
{
    /// <summary>Ports of the host that lead to the guest, of the user's network.</summary>
    public IReadOnlyList<PublishedPort> Published { get; init; } = [];

    /// <summary>Is given a line for people when a network is lost. From any thread.</summary>
    public Action<string> Report { get; init; } = _ => { };

    /// <summary>Connects a card. Its back end is the caller's, to be disposed after the machine.</summary>
    /// <exception cref="BadInputException">There is no such network, or something that it needs is missing.</exception>
    public NetworkDevice Open(NetworkSpecification specification)
    {
        INetworkBackend backend = Connect(specification, Published);
        return new NetworkDevice(specification.ToString(), backend, specification.Address ?? MacAddress.Random(), Addresses(specification, backend))
        {
            // A port of the host leads to one machine only.
            ConnectCopy = specification.Kind == NetworkKind.Tap ? null : () => Connect(specification, []),
        };
    }

    private INetworkBackend Connect(NetworkSpecification specification, IReadOnlyList<PublishedPort> published) => specification.Kind switch
    {
        NetworkKind.User when specification.Allow is not null => throw new BadInputException("network 'user' with a list of what is allowed: not yet"),
        NetworkKind.User => PasstBackend.Start(new PasstOptions { Published = published }, Report),
        NetworkKind.None => new UnpluggedBackend(),
        _ => throw new BadInputException($"network '{specification}': not yet"),
    };

    private static GuestAddresses? Addresses(NetworkSpecification specification, INetworkBackend backend) => backend switch
    {
        PasstBackend passt => new GuestAddresses(
            $"{PasstOptions.Guest4}/{PasstOptions.Prefix4}", PasstOptions.Gateway4, PasstOptions.Gateway4,
            passt.HasIp6 ? $"{PasstOptions.Guest6}/{PasstOptions.Prefix6}" : null, passt.HasIp6 ? PasstOptions.Gateway6 : null),
        _ => specification.Guest4 is { } address ? new GuestAddresses(address) : null,
    };
}
