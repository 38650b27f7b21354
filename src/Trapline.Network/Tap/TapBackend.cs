using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network.Tap;

/// <summary>A tap device of the host that somebody made for this user: the guest's card is on the host's network as a card of the host would be.</summary>
/// <remarks>
/// Each frame has virtio's header before it (linux/virtio_net.h, ten bytes), so checksums and segmentation go through to the host's kernel and come from it undone.
/// </remarks>
public sealed class TapBackend : INetworkBackend
{
    private const int Header = 10, LongestFrame = 65_535 + 64;
    private const byte NeedsChecksum = 1, DataIsValid = 2;
    private const byte NoSegments = 0, Segments4 = 1, Segments6 = 4;
    private const long RetryNanoseconds = 1_000_000_000;

    private readonly TapDevice _device;
    private readonly HostEvent _room = new();
    private Thread? _receiver;
    private volatile INetworkSink? _sink;
    private volatile bool _ended;
    private FrameOffloads _told = FrameOffloads.None;

    private TapBackend(TapDevice device) => _device = device;

    /// <param name="name">Of the device, which is there already.</param>
    /// <exception cref="BadInputException">There is no such device, or it is not for this user.</exception>
    public static TapBackend Open(string name)
    {
        try
        {
            return new TapBackend(TapDevice.Open(name, Header));
        }
        catch (IOException e)
        {
            throw new BadInputException($"network 'tap={name}' cannot be used: {e.Message}; make the device first: ip tuntap add dev {name} mode tap user $USER");
        }
    }

    public int Mtu => _device.Mtu;

    public FrameOffloads Accepts => FrameOffloads.Checksum | FrameOffloads.TcpSegments4 | FrameOffloads.TcpSegments6;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        Span<byte> header = stackalloc byte[Header];
        header.Clear();
        if ((offload.Undone & (FrameOffloads.Checksum | FrameOffloads.TcpSegments4 | FrameOffloads.TcpSegments6)) != 0)
        {
            header[0] = NeedsChecksum;
            BinaryPrimitives.WriteUInt16LittleEndian(header[6..], offload.ChecksumStart);
            BinaryPrimitives.WriteUInt16LittleEndian(header[8..], offload.ChecksumOffset);
        }
        if ((offload.Undone & (FrameOffloads.TcpSegments4 | FrameOffloads.TcpSegments6)) != 0)
        {
            header[1] = (offload.Undone & FrameOffloads.TcpSegments4) != 0 ? Segments4 : Segments6;
            BinaryPrimitives.WriteUInt16LittleEndian(header[2..], offload.HeaderLength);
            BinaryPrimitives.WriteUInt16LittleEndian(header[4..], offload.SegmentSize);
        }
        return _device.Send(header, frame);
    }

    public void Connect(INetworkSink sink)
    {
        INetworkSink? before = _sink;
        before?.RoomAvailable -= _room.Set;
        sink.RoomAvailable += _room.Set;
        _sink = sink;
        _room.Set();
        if (before is not null)
            return;
        _receiver = new Thread(Receive) { Name = "tap " + _device.Name, IsBackground = true };
        _receiver.Start();
    }

    public void Dispose()
    {
        _ended = true;
        _device.Wake();
        _room.Set();
        _receiver?.Join();
        _sink?.RoomAvailable -= _room.Set;
        _device.Dispose();
    }

    private void Receive()
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(Header + LongestFrame, pinned: true);
        while (!_ended)
        {
            Tell(_sink!.Accepts);
            int length = _device.Receive(buffer);
            if (length < 0)
            {
                if (!_ended)
                    _sink?.SetLink(false);
                return;
            }
            if (length <= Header || Read(buffer) is not { } offload)
                continue;
            while (!_ended && !_sink!.Receive(buffer.AsSpan(Header, length - Header), offload))
                _room.WaitUntil(HostTime.Nanoseconds + RetryNanoseconds);
        }
    }

    /// <summary>Tells the kernel what the guest takes undone, when that has changed.</summary>
    private void Tell(FrameOffloads accepted)
    {
        accepted &= FrameOffloads.Checksum | FrameOffloads.TcpSegments4 | FrameOffloads.TcpSegments6;
        if (accepted == _told)
            return;
        _told = accepted;
        _device.SetOffloads((accepted & FrameOffloads.Checksum) != 0, (accepted & FrameOffloads.TcpSegments4) != 0, (accepted & FrameOffloads.TcpSegments6) != 0);
    }

    /// <summary>Null for what no guest was promised.</summary>
    private static FrameOffload? Read(ReadOnlySpan<byte> header)
    {
        FrameOffloads undone = header[1] switch
        {
            NoSegments => FrameOffloads.None,
            Segments4 => FrameOffloads.TcpSegments4,
            Segments6 => FrameOffloads.TcpSegments6,
            _ => FrameOffloads.ChecksumIsValid,
        };
        if (undone == FrameOffloads.ChecksumIsValid)
            return null;
        undone |= (header[0] & NeedsChecksum) != 0 ? FrameOffloads.Checksum : (header[0] & DataIsValid) != 0 ? FrameOffloads.ChecksumIsValid : 0;
        return new FrameOffload(
            undone, BinaryPrimitives.ReadUInt16LittleEndian(header[6..]), BinaryPrimitives.ReadUInt16LittleEndian(header[8..]),
            BinaryPrimitives.ReadUInt16LittleEndian(header[4..]), BinaryPrimitives.ReadUInt16LittleEndian(header[2..]));
    }
}
