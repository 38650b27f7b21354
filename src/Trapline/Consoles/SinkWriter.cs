using Trapline.Core;

namespace Trapline.Consoles;

/// <summary>Writes bytes to a character device and waits where it has no room, so that none is lost.</summary>
internal sealed class SinkWriter : IDisposable
{
    private readonly ManualResetEventSlim _connected = new();
    private readonly AutoResetEvent _room = new(false);
    private readonly CancellationTokenSource _stopped = new();
    private ICharacterSink? _sink;

    public void Connect(ICharacterSink sink)
    {
        _sink = sink;
        sink.RoomAvailable += () => _room.Set();
        _connected.Set();
    }

    /// <summary>Returns when the device has taken everything; false if the writer was stopped first.</summary>
    public bool Write(ReadOnlySpan<byte> data)
    {
        while (WaitForDevice())
        {
            int taken = Offer(data);
            data = data[taken..];
            if (data.IsEmpty)
                return true;
            if (taken == 0)
                WaitForRoom();
        }
        return false;
    }

    /// <summary>Waits until there is a device; false if the writer was stopped.</summary>
    public bool WaitForDevice()
    {
        try
        {
            _connected.Wait(_stopped.Token);
            return !_stopped.IsCancellationRequested;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Gives the device what it takes now, and returns how much that was. There is a device.</summary>
    public int Offer(ReadOnlySpan<byte> data) => _sink!.Receive(data);

    /// <summary>Waits until the device may take more. Not for ever: a guest that resets its port forgets that it refused something.</summary>
    public void WaitForRoom() => _room.WaitOne(200);

    public void Dispose()
    {
        _stopped.Cancel();
        _room.Set();
    }
}
