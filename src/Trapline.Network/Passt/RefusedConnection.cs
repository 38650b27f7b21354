using System.Buffers.Binary;

namespace Trapline.Network.Passt;

/// <summary>Answers to connections that the host refused.</summary>
/// <remarks>
/// passt before 2023-03-29 sends a reset without ACK. A client that has only sent its SYN must ignore such a one (RFC 9293, 3.10.7.3), and would wait for
/// minutes. The acknowledgement number is there, and right: what lacks is the flag.
/// </remarks>
internal static class RefusedConnection
{
    /// <summary>Of frames that can be one: Ethernet, IPv6 and TCP without options or data, and some room.</summary>
    public const int Longest = 128;

    private const int EtherType = 12, Ip = 14;
    private const int Acknowledged = 8, Flags = 13, Checksum = 16, Header = 20;
    private const byte Tcp = 6, Reset = 4, Acknowledge = 0x10;

    public static bool Is(ReadOnlySpan<byte> frame) => frame.Length <= Longest && FindTcp(frame) is > 0 and var tcp
        && frame[tcp + Flags] == Reset && BinaryPrimitives.ReadUInt32BigEndian(frame[(tcp + Acknowledged)..]) != 0;

    /// <summary>Makes it one that a client takes.</summary>
    public static void Repair(Span<byte> frame)
    {
        int tcp = FindTcp(frame);
        frame[tcp + Flags] |= Acknowledge;
        // One's complement arithmetic: the sum grows by what was added to one of its words (RFC 1624).
        int sum = (ushort)~BinaryPrimitives.ReadUInt16BigEndian(frame[(tcp + Checksum)..]) + Acknowledge;
        BinaryPrimitives.WriteUInt16BigEndian(frame[(tcp + Checksum)..], (ushort)~(sum + (sum >> 16)));
    }

    /// <summary>Where the TCP header is, whole; 0 if there is none.</summary>
    private static int FindTcp(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < Ip + 40)
            return 0;
        int tcp = BinaryPrimitives.ReadUInt16BigEndian(frame[EtherType..]) switch
        {
            0x0800 when frame[Ip + 9] == Tcp => Ip + ((frame[Ip] & 0xF) * 4),
            0x86DD when frame[Ip + 6] == Tcp => Ip + 40,
            _ => 0,
        };
        return tcp > 0 && tcp + Header <= frame.Length ? tcp : 0;
    }
}
