using System.Buffers.Binary;

namespace Trapline.Virtio.Network;

/// <summary>Cuts a TCP packet that is longer than the wire takes into segments (virtio 1.2, 5.1.6.2): what a back end that cannot does not see.</summary>
/// <remarks>Each segment has the packet's headers with its own lengths, IPv4 identification, sequence number and checksums. The driver's word is believed for nothing that can be read.</remarks>
internal sealed class TcpSegmenter
{
    private const int EthernetLength = 14, TagLength = 4, Ipv4Length = 20, Ipv6Length = 40, TcpLength = 20;
    private const ushort Vlan = 0x8100, ServiceVlan = 0x88A8, Ipv4 = 0x0800, Ipv6 = 0x86DD;
    private const byte Tcp = 6, Fin = 1, Push = 8, CongestionWindowReduced = 0x80;

    /// <summary>A segment with less payload makes the host work for nothing; Linux never uses less either.</summary>
    private const int LeastSegment = 48;

    private byte[] _frame = [];
    private int _length, _ip, _tcp, _payload, _segmentSize, _next;
    private bool _isVersion6;

    /// <summary>Where the payload begins, if a frame is TCP with its headers in one piece; else 0.</summary>
    /// <param name="tcp">Where the TCP header begins.</param>
    public static int FindPayload(ReadOnlySpan<byte> frame, int tcp, bool isVersion6, out int ip)
    {
        ip = EthernetLength;
        if (frame.Length < EthernetLength)
            return 0;
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        for (int tags = 0; tags < 2 && type is Vlan or ServiceVlan && frame.Length >= ip + TagLength; tags++, ip += TagLength)
            type = BinaryPrimitives.ReadUInt16BigEndian(frame[(ip + 2)..]);
        if (type != (isVersion6 ? Ipv6 : Ipv4) || tcp < ip + (isVersion6 ? Ipv6Length : Ipv4Length) || tcp + TcpLength > frame.Length)
            return 0;
        if (frame[ip] >> 4 != (isVersion6 ? 6 : 4) || (!isVersion6 && (((frame[ip] & 15) * 4) != tcp - ip || frame[ip + 9] != Tcp)))
            return 0;
        int header = (frame[tcp + 12] >> 4) * 4, payload = tcp + header;
        return header < TcpLength || payload > frame.Length ? 0 : payload;
    }

    /// <summary>Begins with a packet; false if it is none that can be cut so.</summary>
    /// <param name="frame">Overwritten by the segments, and must stay until the last was taken.</param>
    public bool TryBegin(byte[] frame, int length, int tcp, bool isVersion6, int segmentSize)
    {
        int payload = FindPayload(frame.AsSpan(0, length), tcp, isVersion6, out int ip);
        if (payload == 0 || segmentSize < LeastSegment)
            return false;
        (_frame, _length, _ip, _tcp, _payload, _segmentSize, _isVersion6, _next) = (frame, length, ip, tcp, payload, segmentSize, isVersion6, payload);
        return true;
    }

    /// <summary>The next segment, written to <paramref name="destination"/>; 0 behind the last.</summary>
    /// <returns>Its length in bytes.</returns>
    public int Next(Span<byte> destination)
    {
        int part = Math.Min(_segmentSize, _length - _next);
        bool isFirst = _next == _payload;
        // A packet without payload is its own only segment.
        if (part <= 0 && !(isFirst && part == 0))
            return 0;
        int number = (_next - _payload) / _segmentSize;
        bool isLast = _next + part == _length;
        Span<byte> segment = destination[..(_payload + part)];
        _frame.AsSpan(0, _payload).CopyTo(segment);
        _frame.AsSpan(_next, part).CopyTo(segment[_payload..]);
        Number(segment, number);
        Span<byte> tcp = segment[_tcp..];
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]) + (uint)(_next - _payload));
        if (!isFirst)
            tcp[13] &= unchecked((byte)~CongestionWindowReduced); // said once (RFC 3168, 6.1.2)
        if (!isLast)
            tcp[13] &= unchecked((byte)~(Fin | Push));
        Sum(segment);
        _next = isLast ? _length + 1 : _next + part;
        return segment.Length;
    }

    /// <summary>The network header's own fields.</summary>
    private void Number(Span<byte> segment, int number)
    {
        Span<byte> ip = segment[_ip..];
        if (_isVersion6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(ip.Length - Ipv6Length));
            return;
        }
        BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)ip.Length);
        BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(BinaryPrimitives.ReadUInt16BigEndian(ip[4..]) + number));
        BinaryPrimitives.WriteUInt16BigEndian(ip[10..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(ip[10..], InternetChecksum.Fold(InternetChecksum.Add(0, ip[..(_tcp - _ip)])));
    }

    /// <summary>TCP's checksum, with the pseudo header: addresses, protocol, length (RFC 9293, 3.1; RFC 8200, 8.1).</summary>
    private void Sum(Span<byte> segment)
    {
        Span<byte> tcp = segment[_tcp..];
        ReadOnlySpan<byte> addresses = _isVersion6 ? segment.Slice(_ip + 8, 32) : segment.Slice(_ip + 12, 8);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], 0);
        ulong sum = InternetChecksum.Add(Tcp + (ulong)tcp.Length, addresses);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], InternetChecksum.Fold(InternetChecksum.Add(sum, tcp)));
    }
}
