using System.Buffers.Binary;
using System.Net;
using Trapline.Core;

namespace Trapline.Network.Tests;

/// <summary>Frames made by hand. Checksums of IPv4 headers are right; those of TCP and UDP are zero, as a card leaves them undone.</summary>
internal static class Packets
{
    public const byte Icmp = 1, Tcp = 6, Udp = 17, Icmp6 = 58;
    public const byte Fin = 1, Syn = 2, Reset = 4, Push = 8, Ack = 16;

    public static MacAddress Guest { get; } = new(0x52_54_00_12_34_56);

    public static byte[] Ethernet(ushort type, ReadOnlySpan<byte> payload, MacAddress? from = null, MacAddress? to = null)
    {
        byte[] frame = new byte[14 + payload.Length];
        (to ?? MacAddress.Broadcast).Write(frame);
        (from ?? Guest).Write(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), type);
        payload.CopyTo(frame.AsSpan(14));
        return frame;
    }

    public static byte[] Ip4(byte protocol, string from, string to, ReadOnlySpan<byte> payload, ushort fragment = 0x4000, ReadOnlySpan<byte> options = default)
    {
        int header = 20 + options.Length;
        byte[] packet = new byte[header + payload.Length];
        packet[0] = (byte)(0x40 | (header / 4));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(6), fragment);
        (packet[8], packet[9]) = (64, protocol);
        IPAddress.Parse(from).TryWriteBytes(packet.AsSpan(12), out _);
        IPAddress.Parse(to).TryWriteBytes(packet.AsSpan(16), out _);
        options.CopyTo(packet.AsSpan(20));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(10), (ushort)~Sum(packet.AsSpan(0, header)));
        payload.CopyTo(packet.AsSpan(header));
        return Ethernet(0x0800, packet);
    }

    public static byte[] Ip6(byte next, string from, string to, ReadOnlySpan<byte> payload)
    {
        byte[] packet = new byte[40 + payload.Length];
        packet[0] = 0x60;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)payload.Length);
        (packet[6], packet[7]) = (next, 255);
        IPAddress.Parse(from).TryWriteBytes(packet.AsSpan(8), out _);
        IPAddress.Parse(to).TryWriteBytes(packet.AsSpan(24), out _);
        payload.CopyTo(packet.AsSpan(40));
        return Ethernet(0x86DD, packet);
    }

    public static byte[] TcpSegment(int from, int to, uint sequence, uint acknowledged, byte flags, ReadOnlySpan<byte> data = default)
    {
        byte[] segment = new byte[20 + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(segment, (ushort)from);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(2), (ushort)to);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(4), sequence);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(8), acknowledged);
        (segment[12], segment[13]) = (5 << 4, flags);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(14), 0xFFFF);
        data.CopyTo(segment.AsSpan(20));
        return segment;
    }

    public static byte[] UdpDatagram(int from, int to, ReadOnlySpan<byte> data)
    {
        byte[] datagram = new byte[8 + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(datagram, (ushort)from);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(2), (ushort)to);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(4), (ushort)datagram.Length);
        data.CopyTo(datagram.AsSpan(8));
        return datagram;
    }

    public static ushort Sum(ReadOnlySpan<byte> data, uint sum = 0)
    {
        for (int i = 0; i + 1 < data.Length; i += 2)
            sum += BinaryPrimitives.ReadUInt16BigEndian(data[i..]);
        if (data.Length % 2 != 0)
            sum += (uint)data[^1] << 8;
        while (sum >> 16 != 0)
            sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)sum;
    }

    /// <summary>Whether the checksum of a TCP or UDP packet over IPv4 is right, or left out where that is allowed.</summary>
    public static bool HasRightChecksum(ReadOnlySpan<byte> frame)
    {
        ReadOnlySpan<byte> packet = frame[14..], payload = packet[20..BinaryPrimitives.ReadUInt16BigEndian(packet[2..])];
        if (packet[9] == Udp && BinaryPrimitives.ReadUInt16BigEndian(payload[6..]) == 0)
            return true;
        return Sum(payload, (uint)Sum(packet[12..20]) + packet[9] + (uint)payload.Length) == 0xFFFF;
    }
}
