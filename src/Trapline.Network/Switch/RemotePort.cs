using System.Net.Sockets;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network.Switch;

/// <summary>A port of a switch of ours into which a machine of another process is plugged, over a socket.</summary>
internal sealed class RemotePort : INetworkSink, IDisposable
{
    private readonly SwitchPort _port;
    private readonly FrameLink _link;
    private int _disposed;

    /// <param name="socket">Becomes this object's own.</param>
    /// <param name="gone">Called if the other process ends; the port is free then.</param>
    public RemotePort(VirtualSwitch lan, Socket socket, Action<RemotePort> gone)
    {
        _link = new FrameLink(socket.ToStream(), () =>
        {
            gone(this);
            _ = Task.Run(Dispose); // not on the link's own thread, which it waits for
        });
        _port = lan.Add();
        _port.Connect(this);
        // What cannot be forwarded is lost, as on any wire.
        _link.Start("switch port", frame =>
        {
            _port.Send(frame, default);
            return true;
        });
    }

    public FrameOffloads Accepts => FrameOffloads.None;

    /// <summary>The link waits for room itself, and loses a frame if there is none.</summary>
    event Action? INetworkSink.RoomAvailable
    {
        add { }
        remove { }
    }

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        Span<byte> head = stackalloc byte[FrameLink.Prefix];
        _link.Send(head, frame);
        return true;
    }

    public void SetLink(bool isUp) { }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _port.Dispose();
        _link.Dispose();
    }
}
