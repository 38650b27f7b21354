using System.Net;
using System.Net.Sockets;

namespace Trapline.Network.Filter;

/// <summary>What becomes of a frame that the guest sends.</summary>
internal enum Verdict
{
    Drop,
    Pass,

    /// <summary>A question for a name that is not allowed: it is answered, in the name server's place.</summary>
    Refuse,
}

/// <summary>Decides which frames leave a guest. Everything is dropped but what is let pass here, line by line.</summary>
/// <remarks>
/// It keeps no track of connections: a segment passes if its destination is allowed, or has spoken to a published port. What comes in is not filtered,
/// since passt lets in only answers and published ports; it is listened to for the name server's answers, and for who speaks to published ports.
/// One frame at a time: both directions take one lock. Nothing here throws, whatever a frame holds.
/// </remarks>
internal sealed class FrameFilter
{
    private const int MostLearned = 4_096, MostPeers = 4_096, MostAddresses = 32;
    private const ushort DnsPort = 53, DhcpServer = 67, DhcpClient = 68, Dhcp6Client = 546, Dhcp6Server = 547;

    private static readonly UInt128 AllDhcp6Servers = Packet.Number(IPAddress.Parse("ff02::1:2"));

    private readonly Lock _gate = new();
    private readonly AllowList _allowed;
    private readonly GuestNetwork _network;
    private readonly LearnedAddresses _learned = new(MostLearned);
    private readonly PeerTable _peers = new(MostPeers);
    private readonly UInt128 _guest4, _gateway4, _gateway6, _guest6Prefix;
    private readonly UInt128[] _nameServers4, _nameServers6;
    private readonly (UInt128 Base, UInt128 Mask, bool IsIp6)?[] _networks;

    public FrameFilter(AllowList allowed, GuestNetwork network)
    {
        (_allowed, _network) = (allowed, network);
        (_guest4, _gateway4, _gateway6) = (Packet.Number(network.Guest4), Packet.Number(network.Gateway4), Packet.Number(network.Gateway6));
        _guest6Prefix = Packet.Number(network.Guest6.BaseAddress) >> 64;
        _nameServers4 = [.. network.NameServers.Where(a => a.AddressFamily == AddressFamily.InterNetwork).Select(Packet.Number)];
        _nameServers6 = [.. network.NameServers.Where(a => a.AddressFamily == AddressFamily.InterNetworkV6).Select(Packet.Number)];
        _networks = [.. allowed.Parsed.Select(rule => rule.Network is { } n ? ((UInt128, UInt128, bool)?)Masked(n) : null)];
    }

    /// <summary>Judges a frame of the guest's.</summary>
    /// <param name="packet">What it is.</param>
    public Verdict Judge(ReadOnlySpan<byte> frame, out Packet packet)
    {
        packet = Packet.Parse(frame);
        lock (_gate)
        {
            return packet.Kind switch
            {
                PacketKind.Arp => packet.Source == _guest4 || packet.Source == 0 ? Verdict.Pass : Verdict.Drop,
                PacketKind.NeighbourDiscovery => IsFromGuest6(packet.Source) || packet.Source == 0 ? Verdict.Pass : Verdict.Drop,
                PacketKind.Udp when IsDhcp(packet) => Verdict.Pass,
                PacketKind.Tcp or PacketKind.Udp when IsFromGuest(packet) => JudgeTransport(frame, packet),
                _ => Verdict.Drop,
            };
        }
    }

    /// <summary>Looks at a frame for the guest, which passes.</summary>
    public void Listen(ReadOnlySpan<byte> frame)
    {
        Packet packet = Packet.Parse(frame);
        if (packet.Kind is not (PacketKind.Tcp or PacketKind.Udp))
            return;
        lock (_gate)
        {
            if (packet is { Kind: PacketKind.Udp, SourcePort: DnsPort } && IsNameServer(packet.IsIp6, packet.Source))
                Learn(frame[packet.Payload..packet.End]);
            // Of TCP the first segment, by which a connection begins.
            else if (IsPublished(packet.Kind, packet.DestinationPort) && (packet.Kind == PacketKind.Udp || (packet.Flags & (Packet.Syn | Packet.Ack)) == Packet.Syn))
                _peers.Add(new Peer(packet.Kind, packet.IsIp6, packet.Source, packet.SourcePort, packet.DestinationPort));
        }
    }

    private Verdict JudgeTransport(ReadOnlySpan<byte> frame, in Packet packet)
    {
        if (IsAllowed(packet) || _peers.Contains(new Peer(packet.Kind, packet.IsIp6, packet.Destination, packet.DestinationPort, packet.SourcePort)))
            return Verdict.Pass;
        if (packet is not { Kind: PacketKind.Udp, DestinationPort: DnsPort } || !IsNameServer(packet.IsIp6, packet.Destination))
            return Verdict.Drop;
        Span<char> name = stackalloc char[DnsMessage.LongestName];
        if (!DnsMessage.TryReadQuestion(frame[packet.Payload..packet.End], name, out int length, out _))
            return Verdict.Drop;
        return _allowed.MayResolve(name[..length]) ? Verdict.Pass : Verdict.Refuse;
    }

    private bool IsAllowed(in Packet packet)
    {
        bool isGateway = packet.Destination == (packet.IsIp6 ? _gateway6 : _gateway4);
        if (!isGateway && !IsElsewhere(packet.IsIp6, packet.Destination))
            return false;
        for (int i = 0; i < _allowed.Parsed.Length; i++)
        {
            AllowRule rule = _allowed.Parsed[i];
            if (rule.Port is { } port && port != packet.DestinationPort)
                continue;
            if (isGateway ? IsGatewayRule(rule) : _networks[i] is { } network
                ? network.IsIp6 == packet.IsIp6 && (packet.Destination & network.Mask) == network.Base
                : _learned.Use(packet.IsIp6, packet.Destination, i, Environment.TickCount64))
                return true;
        }
        return false;
    }

    /// <summary>The host is reached by its name here or its very address: "everything" and networks are about others.</summary>
    private bool IsGatewayRule(AllowRule rule) =>
        rule.Name == AllowRule.Gateway || (rule.Network is { } n && (n.BaseAddress.Equals(_network.Gateway4) ? n.PrefixLength == 32 : n.BaseAddress.Equals(_network.Gateway6) && n.PrefixLength == 128));

    /// <summary>
    /// Neither the guest itself, nor many, nor what the host would take for itself: loopback and unspecified addresses, and IPv4 addresses in IPv6 ones.
    /// </summary>
    private bool IsElsewhere(bool isIp6, UInt128 address)
    {
        if (isIp6)
            return address >> 120 != 0xFF && address >> 32 != 0 && address >> 32 != 0xFFFF && address >> 64 != _guest6Prefix && !IsLinkLocal(address);
        uint ip4 = (uint)address;
        return address != _guest4 && ip4 >> 24 is not (0 or 127) && ip4 >> 28 != 0xE && ip4 != uint.MaxValue;
    }

    private bool IsFromGuest(in Packet packet) => packet.IsIp6 ? IsFromGuest6(packet.Source) : packet.Source == _guest4;

    private bool IsFromGuest6(UInt128 source) => source >> 64 == _guest6Prefix || IsLinkLocal(source);

    private static bool IsLinkLocal(UInt128 address) => address >> 118 == 0x3FA;

    private bool IsDhcp(in Packet packet) => packet.IsIp6
        ? packet is { SourcePort: Dhcp6Client, DestinationPort: Dhcp6Server } && IsLinkLocal(packet.Source) && packet.Destination == AllDhcp6Servers
        : packet is { SourcePort: DhcpClient, DestinationPort: DhcpServer } && (packet.Source == 0 || packet.Source == _guest4)
            && (packet.Destination == uint.MaxValue || packet.Destination == _gateway4);

    private bool IsNameServer(bool isIp6, UInt128 address) => Array.IndexOf(isIp6 ? _nameServers6 : _nameServers4, address) >= 0;

    private bool IsPublished(PacketKind kind, ushort port)
    {
        foreach (PublishedPort published in _network.PublishedPorts)
        {
            if (published.GuestPort == port && published.IsUdp == (kind == PacketKind.Udp))
                return true;
        }
        return false;
    }

    private void Learn(ReadOnlySpan<byte> message)
    {
        Span<char> name = stackalloc char[DnsMessage.LongestName];
        Span<DnsAddress> addresses = stackalloc DnsAddress[MostAddresses];
        if (!DnsMessage.TryReadAnswer(message, name, out int length, addresses, out int count))
            return;
        for (int rule = 0; rule < _allowed.Parsed.Length; rule++)
        {
            // "Everything" has its networks already.
            if (_allowed.Parsed[rule] is not { Name: not "*" } named || !named.Names(name[..length]))
                continue;
            foreach (DnsAddress address in addresses[..count])
                _learned.Add(address, rule, Environment.TickCount64);
        }
    }

    private static (UInt128 Base, UInt128 Mask, bool IsIp6) Masked(IPNetwork network)
    {
        bool isIp6 = network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6;
        int hostBits = (isIp6 ? 128 : 32) - network.PrefixLength;
        UInt128 mask = hostBits == 128 ? 0 : UInt128.MaxValue << hostBits;
        return (Packet.Number(network.BaseAddress), mask, isIp6);
    }
}
