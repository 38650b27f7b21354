using Trapline.Core;
using Trapline.Machine;
using Trapline.Network;
using Trapline.Network.Passt;
using Trapline.Network.Switch;
using Trapline.Network.Tap;

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

    /// <summary>Where the socket of a named switch is; its folder is the user's alone.</summary>
    public Func<string, string> SwitchPath { get; init; } = name => throw new BadInputException($"network 'socket={name}': say where its socket is");

    /// <summary>Connects a card. Its back end is the caller's, to be disposed after the machine.</summary>
    /// <exception cref="BadInputException">There is no such network, or something that it needs is missing.</exception>
    public NetworkDevice Open(NetworkSpecification specification)
    {
        INetworkBackend backend = Connect(specification, Published, out GuestAddresses? addresses);
        return new NetworkDevice(specification.ToString(), backend, specification.Address ?? MacAddress.Random(), addresses)
        {
            // A port of the host leads to one machine only.
            ConnectCopy = specification.Kind == NetworkKind.Tap ? null : published => Connect(specification, [.. published.Select(text => PublishedPort.Parse("--publish", text))], out _),
            Publishes = specification.Kind == NetworkKind.User,
        };
    }

    private INetworkBackend Connect(NetworkSpecification specification, IReadOnlyList<PublishedPort> published, out GuestAddresses? addresses)
    {
        addresses = specification.Guest4 is { } given ? new GuestAddresses(given) : null;
        switch (specification.Kind)
        {
            case NetworkKind.User:
                INetworkBackend backend = UserNetwork.Start(published, specification.Allow, Report, out bool hasIp6);
                addresses = new GuestAddresses(
                    $"{PasstOptions.Guest4}/{PasstOptions.Prefix4}", PasstOptions.Gateway4, PasstOptions.Gateway4,
                    hasIp6 ? $"{PasstOptions.Guest6}/{PasstOptions.Prefix6}" : null, hasIp6 ? PasstOptions.Gateway6 : null);
                return backend;
            case NetworkKind.None:
                return new UnpluggedBackend();
            case NetworkKind.Socket:
                return NamedSwitch.Join(SwitchPath(specification.Name), Report);
            default:
                return TapBackend.Open(specification.Name);
        }
    }
}
