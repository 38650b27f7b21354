using Trapline.Core;

namespace Trapline.Virtio.Network;

/// <summary>Hands a driver's frame to the back end, and does what the driver left undone and the back end does not do (virtio 1.2, 5.1.6.2).</summary>
internal sealed class FrameTransmitter(INetworkBackend backend)
{
    /// <summary>Longest frame: the longest packet behind two tags of a VLAN.</summary>
    public const int MostBytes = 14 + 8 + 65535;

    private const int LeastBytes = 14;

    private readonly TcpSegmenter _segmenter = new();
    private readonly byte[] _segment = new byte[MostBytes];

    /// <summary>The driver's frame, which is worked on in place.</summary>
    public byte[] Frame { get; } = new byte[MostBytes];

    /// <summary>Sends the frame; false if it, or a part of it, was dropped: by the back end, or for a header that makes no sense.</summary>
    /// <param name="agreed">What the driver may leave undone.</param>
    public bool Send(int length, NetworkHeader header, FrameOffloads agreed)
    {
        Span<byte> frame = Frame.AsSpan(0, length);
        FrameOffloads undone = (header.Flags & NetworkHeader.NeedsChecksum) != 0 ? FrameOffloads.Checksum : FrameOffloads.None;
        FrameOffloads cut = header.Segments switch
        {
            NetworkHeader.NoSegments => FrameOffloads.None,
            NetworkHeader.TcpSegments4 => FrameOffloads.TcpSegments4,
            NetworkHeader.TcpSegments6 => FrameOffloads.TcpSegments6,
            _ => FrameOffloads.ChecksumIsValid, // nothing that was agreed on
        };
        undone |= cut;
        if (length < LeastBytes || (undone & ~agreed) != 0)
            return false;
        if (cut != FrameOffloads.None)
            return (undone & FrameOffloads.Checksum) != 0 && SendLong(frame, header, undone);
        if (undone == FrameOffloads.None)
            return backend.Send(frame, default);
        if (header.ChecksumStart < LeastBytes || header.ChecksumStart + header.ChecksumOffset + 2 > length)
            return false;
        if ((backend.Accepts & FrameOffloads.Checksum) != 0)
            return backend.Send(frame, new FrameOffload(FrameOffloads.Checksum, header.ChecksumStart, header.ChecksumOffset));
        return InternetChecksum.TryComplete(frame, header.ChecksumStart, header.ChecksumOffset) && backend.Send(frame, default);
    }

    private bool SendLong(ReadOnlySpan<byte> frame, NetworkHeader header, FrameOffloads undone)
    {
        const int ChecksumInTcp = 16;
        bool isVersion6 = (undone & FrameOffloads.TcpSegments6) != 0;
        if (header.ChecksumOffset != ChecksumInTcp || header.SegmentSize == 0)
            return false;
        if ((undone & ~backend.Accepts) == 0)
        {
            int payload = TcpSegmenter.FindPayload(frame, header.ChecksumStart, isVersion6, out _);
            return payload != 0 && backend.Send(frame, new FrameOffload(undone, header.ChecksumStart, ChecksumInTcp, header.SegmentSize, (ushort)payload));
        }
        if (!_segmenter.TryBegin(Frame, frame.Length, header.ChecksumStart, isVersion6, header.SegmentSize))
            return false;
        bool all = true;
        for (int n = _segmenter.Next(_segment); n > 0; n = _segmenter.Next(_segment))
            all &= backend.Send(_segment.AsSpan(0, n), default);
        return all;
    }
}
