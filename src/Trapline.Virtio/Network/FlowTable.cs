using System.Buffers.Binary;

namespace Trapline.Virtio.Network;

/// <summary>Which pair of queues a flow's frames go through: what is received for it comes where it was last sent from (virtio 1.2, 5.1.6.5.6.1).</summary>
/// <remarks>A guess that harms nothing if it is wrong; written by the device's worker and read by the back end without a lock.</remarks>
internal sealed class FlowTable
{
    private const int Entries = 256, EthernetLength = 14;
    private const ushort Ipv4 = 0x0800, Ipv6 = 0x86DD;

    private readonly byte[] _pairs = new byte[Entries];

    public void Clear() => Array.Clear(_pairs);

    public void Sent(ReadOnlySpan<byte> frame, int pair) => _pairs[Hash(frame)] = (byte)pair;

    public int PairFor(ReadOnlySpan<byte> frame, int active)
    {
        int pair = _pairs[Hash(frame)];
        return pair < active ? pair : 0;
    }

    /// <summary>The same for both directions: addresses and, without options, ports are added up.</summary>
    private static byte Hash(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < EthernetLength + 44)
            return 0;
        ReadOnlySpan<byte> ip = frame[EthernetLength..];
        uint sum = 0;
        switch (BinaryPrimitives.ReadUInt16BigEndian(frame[12..]))
        {
            case Ipv4:
                sum = Word(ip, 12) + Word(ip, 16) + Ports(ip, 20);
                break;
            case Ipv6:
                for (int at = 8; at < 40; at += 4)
                    sum += Word(ip, at);
                sum += Ports(ip, 40);
                break;
        }
        return (byte)((sum * 0x9E37_79B1) >> 24);
    }

    private static uint Word(ReadOnlySpan<byte> ip, int at) => BinaryPrimitives.ReadUInt32BigEndian(ip[at..]);

    private static uint Ports(ReadOnlySpan<byte> ip, int at) => (uint)BinaryPrimitives.ReadUInt16BigEndian(ip[at..]) + BinaryPrimitives.ReadUInt16BigEndian(ip[(at + 2)..]);
}
