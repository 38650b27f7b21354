namespace Trapline.Consoles;

/// <summary>Carries bytes to a host stream on a thread of its own, so that a vCPU does not wait for each of them.</summary>
internal sealed class OutputPump : IDisposable
{
    /// <summary>A writer waits while more than this is queued: a guest cannot fill the host's memory.</summary>
    private const int QueueLimit = 1 << 20;

    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _work = new(0);
    private readonly ManualResetEventSlim _room = new(true);
    private readonly Stream _stream;
    private readonly Action<int>? _written;
    private readonly Action? _broken;
    private readonly Thread _thread;
    private byte[] _filling = new byte[4096];
    private byte[] _draining = new byte[4096];
    private int _filled;
    private bool _completed;
    private bool _failed;

    /// <param name="stream">Where the bytes go; the caller owns it.</param>
    /// <param name="name">The thread's name.</param>
    /// <param name="written">Called on the pump's thread with the count of bytes that the stream took.</param>
    /// <param name="broken">Called once when the stream refuses: nobody reads it any more.</param>
    public OutputPump(Stream stream, string name, Action<int>? written = null, Action? broken = null)
    {
        _stream = stream;
        _written = written;
        _broken = broken;
        _thread = new Thread(Run) { IsBackground = true, Name = name };
        _thread.Start();
    }

    public void Write(ReadOnlySpan<byte> data)
    {
        _room.Wait();
        lock (_gate)
        {
            if (_completed || _failed)
                return;
            if (_filled + data.Length > _filling.Length)
                Array.Resize(ref _filling, Math.Max(_filling.Length * 2, _filled + data.Length));
            data.CopyTo(_filling.AsSpan(_filled));
            bool wasEmpty = _filled == 0;
            _filled += data.Length;
            if (_filled > QueueLimit)
                _room.Reset();
            if (wasEmpty && _filled > 0)
                _work.Release();
        }
    }

    /// <summary>Takes no more, and returns when all that was taken has reached the stream.</summary>
    public void Complete()
    {
        lock (_gate)
        {
            if (!_completed)
                _work.Release();
            _completed = true;
        }
        _room.Set();
        if (Thread.CurrentThread != _thread)
            _thread.Join();
    }

    public void Dispose() => Complete();

    private void Run()
    {
        while (true)
        {
            _work.Wait();
            int count;
            bool last;
            lock (_gate)
            {
                (_filling, _draining) = (_draining, _filling);
                count = _filled;
                _filled = 0;
                last = _completed;
            }
            _room.Set();
            if (count > 0 && !_failed)
                Drain(count);
            if (last)
                return;
        }
    }

    private void Drain(int count)
    {
        try
        {
            _stream.Write(_draining, 0, count);
            _stream.Flush();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or UnauthorizedAccessException)
        {
            _failed = true;
            _broken?.Invoke();
        }
        _written?.Invoke(count);
    }
}
