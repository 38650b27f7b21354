using System.Buffers.Binary;

namespace Trapline.Virtio.Tests.Network;

/// <summary>TCP packets byte by byte, and their checksums the slow way.</summary>
internal static class HandMadeFrames
{
    public const int Ipv4Tcp = 14 + 20, Ipv6Tcp = 14 + 40;

    private static readonly byte[] Ethernet = [0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02];

    /// <summary>A packet of TCP over IPv4 as a driver leaves it: the pseudo header's sum where the checksum goes.</summary>
    public static byte[] Tcp4(int payload, byte flags = 0x18, bool tagged = false, int tcpOptions = 12)
    {
        byte[] ip = new byte[20];
        ip[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(2), (ushort)(20 + 20 + tcpOptions + payload));
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), 0xFFFE);
        ip[6] = 0x40;
        ip[8] = 64;
        ip[9] = 6;
        byte[] addresses = [10, 0, 0, 1, 192, 168, 77, 200];
        addresses.CopyTo(ip, 12);
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(10), (ushort)~Sum(ip));
        byte[] type = tagged ? [0x81, 0x00, 0x00, 0x05, 0x08, 0x00] : [0x08, 0x00];
        return [.. Ethernet, .. type, .. ip, .. Tcp(payload, flags, tcpOptions, addresses)];
    }

    public static byte[] Tcp6(int payload, byte flags = 0x18)
    {
        byte[] ip = new byte[40];
        ip[0] = 0x60;
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), (ushort)(20 + payload));
        ip[6] = 6;
        ip[7] = 64;
        for (int i = 8; i < 40; i++)
            ip[i] = (byte)(i * 7);
        return [.. Ethernet, 0x86, 0xDD, .. ip, .. Tcp(payload, flags, 0, ip[8..40])];
    }

    private static byte[] Tcp(int payload, byte flags, int options, byte[] addresses)
    {
        byte[] tcp = new byte[20 + options + payload];
        BinaryPrimitives.WriteUInt16BigEndian(tcp, 1234);
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(2), 80);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(4), 0xFFFF_F000); // wraps
        tcp[12] = (byte)((20 + options) / 4 << 4);
        tcp[13] = flags;
        for (int i = 0; i < options; i++)
            tcp[20 + i] = 1;
        for (int i = 0; i < payload; i++)
            tcp[20 + options + i] = (byte)((i * 31) ^ (i >> 8));
        byte[] pseudo = [.. addresses, 0, 6, (byte)(tcp.Length >> 8), (byte)tcp.Length];
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(16), Sum(pseudo));
        return tcp;
    }

    /// <summary>The ones' complement sum, a word at a time.</summary>
    public static ushort Sum(ReadOnlySpan<byte> data)
    {
        uint sum = 0;
        for (int i = 0; i < data.Length; i += 2)
        {
            sum += (uint)((data[i] << 8) | (i + 1 < data.Length ? data[i + 1] : 0));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        return (ushort)sum;
    }

    /// <summary>A receiver finds the TCP checksum right.</summary>
    public static bool TcpIsRight(ReadOnlySpan<byte> frame, int tcp)
    {
        bool isVersion6 = frame[12] == 0x86;
        ReadOnlySpan<byte> addresses = isVersion6 ? frame.Slice(14 + 8, 32) : frame.Slice(tcp - 8, 8);
        int length = frame.Length - tcp;
        byte[] all = [.. addresses, 0, 6, (byte)(length >> 8), (byte)length, .. frame[tcp..]];
        return Sum(all) == 0xFFFF;
    }
}
