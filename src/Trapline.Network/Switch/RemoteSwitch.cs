using System.Net.Sockets;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network.Switch;

/// <summary>A switch in another process, over a socket.</summary>
internal sealed class RemoteSwitch : INetworkBackend
{
    private readonly CardLink _link;

    /// <param name="socket">Becomes this object's own.</param>
    /// <param name="lost">Called if the other process ends.</param>
    public RemoteSwitch(Socket socket, Action lost) => _link = new CardLink(socket.ToStream(), lost);

    public int Mtu => 1_500;

    public FrameOffloads Accepts => FrameOffloads.None;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload) => _link.Send(frame);

    public void Connect(INetworkSink sink) => _link.Connect(sink, "switch", frame => _link.Card!.Receive(frame, default));

    public void Dispose() => _link.Dispose();
}
