using System.Net.Sockets;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network.Switch;

/// <summary>A switch in another process, over a socket.</summary>
internal sealed class RemoteSwitch : INetworkBackend
{
    private readonly FrameLink _link;
    private volatile INetworkSink? _sink;

    /// <param name="socket">Becomes this object's own.</param>
    /// <param name="lost">Called if the other process ends.</param>
    public RemoteSwitch(Socket socket, Action lost) => _link = new FrameLink(socket.ToStream(), lost);

    public int Mtu => 1_500;

    public FrameOffloads Accepts => FrameOffloads.None;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        Span<byte> head = stackalloc byte[FrameLink.Prefix];
        return _link.Send(head, frame);
    }

    public void Connect(INetworkSink sink)
    {
        INetworkSink? before = _sink;
        before?.RoomAvailable -= _link.Retry;
        sink.RoomAvailable += _link.Retry;
        _sink = sink;
        if (before is null)
            _link.Start("switch", frame => _sink!.Receive(frame, default));
        _link.Retry();
    }

    public void Dispose()
    {
        _sink?.RoomAvailable -= _link.Retry;
        _link.Dispose();
    }
}
