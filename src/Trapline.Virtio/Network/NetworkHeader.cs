using System.Runtime.InteropServices;

namespace Trapline.Virtio.Network;

/// <summary>What comes before each frame in a buffer (virtio 1.2, 5.1.6).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal record struct NetworkHeader
{
    /// <summary>Bytes with, and for legacy drivers without mergeable buffers without, the number of buffers.</summary>
    public const int Length = 12, ShortLength = 10;

    public const byte NeedsChecksum = 1, DataValid = 2;
    public const byte NoSegments = 0, TcpSegments4 = 1, TcpSegments6 = 4;

    public byte Flags;
    public byte Segments;
    public ushort HeaderLength;
    public ushort SegmentSize;
    public ushort ChecksumStart;
    public ushort ChecksumOffset;

    /// <summary>How many buffers a received frame takes.</summary>
    public ushort Buffers;
}
