using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Trapline.Network.Filter;

/// <summary>What a frame is, as far as a filter asks.</summary>
internal enum PacketKind
{
    /// <summary>Something else, or malformed: nothing that a filter should let pass.</summary>
    Unknown,

    /// <summary>A question or answer of ARP for IPv4 over Ethernet.</summary>
    Arp,
    Tcp,
    Udp,

    /// <summary>Router and neighbour discovery (RFC 4861), which no router forwards.</summary>
    NeighbourDiscovery,
}

/// <summary>The headers of one frame. Never more than the frame says and holds.</summary>
/// <remarks>
/// Strict on purpose: what two readers could read differently is <see cref="PacketKind.Unknown"/>. No fragments, no IPv4 options, no IPv6 extension
/// headers, nothing in tunnels, no VLANs, no lengths that the frame does not bear out.
/// </remarks>
/// <param name="IsIp6">Else IPv4; ARP counts as that.</param>
/// <param name="Source">An IPv4 address in the lowest 32 bits, or an IPv6 address.</param>
/// <param name="Flags">Of TCP.</param>
/// <param name="Payload">Where the data of TCP or UDP begins, from the frame's start.</param>
/// <param name="End">Where it ends.</param>
internal readonly record struct Packet(
    PacketKind Kind, bool IsIp6 = false, UInt128 Source = default, UInt128 Destination = default, ushort SourcePort = 0, ushort DestinationPort = 0,
    byte Flags = 0, int Payload = 0, int End = 0)
{
    public const int Ethernet = 14;
    public const byte Syn = 2, Ack = 16;

    private const ushort EtherArp = 0x0806, Ether4 = 0x0800, Ether6 = 0x86DD;
    private const int Arp = 28, Ip4 = 20, Ip6 = 40, Tcp = 20, Udp = 8, Discovery = 8;

    /// <summary>Ethernet pads what is shorter (IEEE 802.3, 4.2.3.3).</summary>
    private const int ShortestFrame = 60;

    private const byte ProtocolTcp = 6, ProtocolUdp = 17, ProtocolIcmp6 = 58, DiscoveryHops = 255;
    private const byte RouterSolicitation = 133, RouterAdvertisement = 134, NeighbourAdvertisement = 136;

    public static Packet Parse(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < Ethernet)
            return default;
        return BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) switch
        {
            EtherArp => ParseArp(frame[Ethernet..]),
            Ether4 => ParseIp4(frame),
            Ether6 => ParseIp6(frame),
            _ => default,
        };
    }

    /// <summary>The number that stands for an address in a packet.</summary>
    public static UInt128 Number(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out int length);
        return address.AddressFamily == AddressFamily.InterNetwork ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt128BigEndian(bytes[..length]);
    }

    private static Packet ParseArp(ReadOnlySpan<byte> packet)
    {
        ReadOnlySpan<byte> ethernetAndIp4 = [0, 1, 8, 0, 6, 4, 0];
        return packet.Length >= Arp && packet.StartsWith(ethernetAndIp4) && packet[7] is 1 or 2
            ? new Packet(PacketKind.Arp, false, BinaryPrimitives.ReadUInt32BigEndian(packet[14..]), BinaryPrimitives.ReadUInt32BigEndian(packet[24..]))
            : default;
    }

    private static Packet ParseIp4(ReadOnlySpan<byte> frame)
    {
        ReadOnlySpan<byte> packet = frame[Ethernet..];
        // Version 4 and a header without options; more fragments, or not the first one.
        if (packet.Length < Ip4 || packet[0] != 0x45 || (BinaryPrimitives.ReadUInt16BigEndian(packet[6..]) & 0xBFFF) != 0)
            return default;
        int length = BinaryPrimitives.ReadUInt16BigEndian(packet[2..]);
        if (length < Ip4 || !IsLengthOf(frame, Ethernet + length))
            return default;
        return ParseTransport(frame, packet[9], Ethernet + Ip4, Ethernet + length, new Packet(
            PacketKind.Unknown, false, BinaryPrimitives.ReadUInt32BigEndian(packet[12..]), BinaryPrimitives.ReadUInt32BigEndian(packet[16..])));
    }

    private static Packet ParseIp6(ReadOnlySpan<byte> frame)
    {
        ReadOnlySpan<byte> packet = frame[Ethernet..];
        if (packet.Length < Ip6 || packet[0] >> 4 != 6)
            return default;
        int end = Ethernet + Ip6 + BinaryPrimitives.ReadUInt16BigEndian(packet[4..]);
        if (!IsLengthOf(frame, end))
            return default;
        Packet addressed = new(PacketKind.Unknown, true, BinaryPrimitives.ReadUInt128BigEndian(packet[8..]), BinaryPrimitives.ReadUInt128BigEndian(packet[24..]));
        if (packet[6] != ProtocolIcmp6)
            return ParseTransport(frame, packet[6], Ethernet + Ip6, end, addressed);
        bool isDiscovery = end - Ethernet - Ip6 >= Discovery && packet[7] == DiscoveryHops
            && packet[Ip6] is >= RouterSolicitation and <= NeighbourAdvertisement and not RouterAdvertisement && packet[Ip6 + 1] == 0;
        return isDiscovery ? addressed with { Kind = PacketKind.NeighbourDiscovery } : default;
    }

    private static Packet ParseTransport(ReadOnlySpan<byte> frame, byte protocol, int start, int end, Packet addressed)
    {
        ReadOnlySpan<byte> segment = frame[start..end];
        switch (protocol)
        {
            case ProtocolTcp when segment.Length >= Tcp:
                int header = (segment[12] >> 4) * 4;
                return header >= Tcp && header <= segment.Length
                    ? addressed with { Kind = PacketKind.Tcp, SourcePort = Port(segment), DestinationPort = Port(segment[2..]), Flags = segment[13], Payload = start + header, End = end }
                    : default;
            case ProtocolUdp when segment.Length >= Udp && BinaryPrimitives.ReadUInt16BigEndian(segment[4..]) == segment.Length:
                return addressed with { Kind = PacketKind.Udp, SourcePort = Port(segment), DestinationPort = Port(segment[2..]), Payload = start + Udp, End = end };
            default:
                return default;
        }
    }

    private static bool IsLengthOf(ReadOnlySpan<byte> frame, int length) => frame.Length == length || (length < frame.Length && frame.Length == ShortestFrame);

    private static ushort Port(ReadOnlySpan<byte> at) => BinaryPrimitives.ReadUInt16BigEndian(at);
}
