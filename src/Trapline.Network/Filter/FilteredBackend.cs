using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Network.Filter;

/// <summary>A network of which the guest reaches only what a list allows.</summary>
internal sealed class FilteredBackend : INetworkBackend
{
    private const int Ip4Header = 20, Ip6Header = 40, UdpHeader = 8, LongestRefusal = Packet.Ethernet + Ip6Header + UdpHeader + 512;

    private readonly INetworkBackend _inner;
    private readonly FrameFilter _filter;
    private volatile Listener? _listener;

    /// <param name="inner">Becomes this object's own.</param>
    public FilteredBackend(INetworkBackend inner, AllowList allowed, GuestNetwork network)
    {
        _inner = inner;
        _filter = new FrameFilter(allowed, network);
    }

    public int Mtu => _inner.Mtu;

    public FrameOffloads Accepts => _inner.Accepts;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        switch (_filter.Judge(frame, out Packet packet))
        {
            case Verdict.Pass:
                return _inner.Send(frame, offload);
            case Verdict.Refuse:
                Refuse(frame, packet);
                return true;
            default:
                return false;
        }
    }

    public void Connect(INetworkSink sink)
    {
        _listener?.Leave();
        _listener = new Listener(sink, _filter);
        _inner.Connect(_listener);
    }

    public void Dispose()
    {
        _inner.Dispose();
        _listener?.Leave();
    }

    /// <summary>Answers a question in the name server's place, so that whoever asks need not wait for an answer that never comes.</summary>
    private void Refuse(ReadOnlySpan<byte> frame, in Packet packet)
    {
        Span<char> name = stackalloc char[DnsMessage.LongestName];
        ReadOnlySpan<byte> question = frame[packet.Payload..packet.End];
        if (_listener is not { } listener || !DnsMessage.TryReadQuestion(question, name, out _, out int end))
            return;
        Span<byte> answer = stackalloc byte[LongestRefusal];
        answer = answer[..(packet.Payload + end)];
        frame[..packet.Payload].CopyTo(answer);
        DnsMessage.WriteRefusal(question, answer[packet.Payload..]);

        frame[6..12].CopyTo(answer);
        frame[..6].CopyTo(answer[6..]);
        Span<byte> ip = answer[Packet.Ethernet..], udp = answer[(packet.Payload - UdpHeader)..];
        int addresses = packet.IsIp6 ? 8 : 12, size = packet.IsIp6 ? 16 : 4;
        frame.Slice(Packet.Ethernet + addresses, size).CopyTo(ip[(addresses + size)..]);
        frame.Slice(Packet.Ethernet + addresses + size, size).CopyTo(ip[addresses..]);
        BinaryPrimitives.WriteUInt16BigEndian(udp, packet.DestinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(udp[2..], packet.SourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(udp[4..], (ushort)udp.Length);
        udp[6..8].Clear();
        if (packet.IsIp6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)udp.Length);
            // The pseudo-header (RFC 8200, 8.1): addresses, length, protocol.
            ushort sum = (ushort)~OnesComplement.Sum(udp, OnesComplement.Sum(ip[8..Ip6Header]) + (uint)udp.Length + ip[6]);
            BinaryPrimitives.WriteUInt16BigEndian(udp[6..], sum == 0 ? ushort.MaxValue : sum);
        }
        else
        {
            // Over IPv4 UDP may go without a checksum (RFC 768).
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(Ip4Header + udp.Length));
            ip[10..12].Clear();
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], (ushort)~OnesComplement.Sum(ip[..Ip4Header]));
        }
        listener.Receive(answer, default);
    }

    /// <summary>Hears what comes for the guest, and passes it on.</summary>
    private sealed class Listener : INetworkSink
    {
        private readonly INetworkSink _sink;
        private readonly FrameFilter _filter;

        public Listener(INetworkSink sink, FrameFilter filter)
        {
            (_sink, _filter) = (sink, filter);
            _sink.RoomAvailable += OnRoom;
        }

        public event Action? RoomAvailable;

        public FrameOffloads Accepts => _sink.Accepts;

        public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
        {
            _filter.Listen(frame);
            return _sink.Receive(frame, offload);
        }

        public void SetLink(bool isUp) => _sink.SetLink(isUp);

        public void Leave() => _sink.RoomAvailable -= OnRoom;

        private void OnRoom() => RoomAvailable?.Invoke();
    }
}
