using Trapline.Core;

namespace Trapline.Machine.Tests;

/// <summary>A network that sends each frame back, later if the card has no room or stands.</summary>
internal sealed class LoopedWire : INetworkBackend
{
    private readonly Lock _lock = new();
    private readonly Queue<(byte[] Frame, FrameOffload Offload)> _waiting = [];
    private INetworkSink _sink = null!;

    public int Mtu => 1500;

    public FrameOffloads Accepts => FrameOffloads.None;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        lock (_lock)
            _waiting.Enqueue((frame.ToArray(), offload));
        Deliver();
        return true;
    }

    public void Connect(INetworkSink sink)
    {
        _sink = sink;
        sink.RoomAvailable += Deliver;
    }

    public void Dispose() { }

    private void Deliver()
    {
        lock (_lock)
        {
            while (_waiting.TryPeek(out (byte[] Frame, FrameOffload Offload) first) && _sink.Receive(first.Frame, first.Offload))
                _waiting.Dequeue();
        }
    }
}
