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
        try
        {
            _connected.Wait(_stopped.Token);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        while (!_stopped.IsCancellationRequested)
        {
            int taken = _sink!.Receive(data);
            data = data[taken..];
            if (data.IsEmpty)
                return true;
            if (taken > 0)
                continue;
            // The limit is for a guest that resets its port and so forgets that it refused something.
            _room.WaitOne(200);
        }
        return false;
    }

    public void Dispose()
    {
        _stopped.Cancel();
        _room.Set();
    }
}
