using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network.Switch;

/// <summary>A port of a switch. From a card's side a back end.</summary>
internal sealed class SwitchPort(VirtualSwitch owner) : INetworkBackend
{
    private const long PatienceNanoseconds = 10_000_000;

    private readonly Lock _waiting = new();
    private readonly HostEvent _room = new();
    private volatile INetworkSink? _sink;
    private volatile bool _isStuck;

    /// <summary>What every network carries. Longer packets travel as segments that nobody cuts, where both ends agree.</summary>
    public int Mtu => 1_500;

    public FrameOffloads Accepts => owner.AcceptedBeside(this);

    /// <summary>A port where nothing is plugged in takes everything.</summary>
    public FrameOffloads SinkAccepts => _sink?.Accepts ?? (FrameOffloads)~0;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload) => owner.Forward(this, frame, offload);

    public void Connect(INetworkSink sink)
    {
        _sink?.RoomAvailable -= OnRoom;
        sink.RoomAvailable += OnRoom;
        _sink = sink;
        OnRoom();
    }

    /// <summary>Gives a frame to the guest, from the sender's thread.</summary>
    public bool Deliver(ReadOnlySpan<byte> frame, in FrameOffload offload, bool mayWait)
    {
        if (_sink is not { } sink)
            return false;
        if (sink.Receive(frame, offload))
            return true;
        // A guest that has been waited for in vain is not waited for again until it has room.
        if (!mayWait || _isStuck)
            return false;
        lock (_waiting)
        {
            long deadline = HostTime.Nanoseconds + PatienceNanoseconds;
            do
            {
                if (sink.Receive(frame, offload))
                    return true;
            }
            while (_room.WaitUntil(deadline));
            _isStuck = true;
        }
        return false;
    }

    public void Dispose()
    {
        owner.Remove(this);
        _sink?.RoomAvailable -= OnRoom;
        _sink = null;
    }

    private void OnRoom()
    {
        _isStuck = false;
        _room.Set();
    }
}
