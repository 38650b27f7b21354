using Trapline.Consoles;
using Trapline.Core;

namespace Trapline.Agent;

/// <summary>Sends frames down the line to the agent, in order, as far as the line's credit goes; the rest waits on its own thread.</summary>
internal sealed class LineSender : IDisposable
{
    private readonly Lock _gate = new();
    private readonly SinkWriter _writer = new();
    private readonly Queue<byte[]> _queue = new();
    private readonly SemaphoreSlim _work = new(0);
    private byte[]? _current; // the frame that is being sent, and how much of it has been
    private int _sent;
    private int _unacknowledged;
    private bool _disposed;

    public LineSender()
    {
        new Thread(Run) { IsBackground = true, Name = "agent line" }.Start();
    }

    public void Connect(ICharacterSink sink) => _writer.Connect(sink);

    public void Send(byte[] frame)
    {
        lock (_gate)
            _queue.Enqueue(frame);
        _work.Release();
    }

    /// <summary>The agent has read <paramref name="count"/> bytes.</summary>
    public void Acknowledge(uint count)
    {
        lock (_gate)
            _unacknowledged = (int)Math.Max(0, _unacknowledged - count);
        _work.Release();
    }

    /// <summary>A new agent is at the other end: what was under way to the old one is gone.</summary>
    public void Reset()
    {
        lock (_gate)
        {
            _current = null;
            _queue.Clear();
            _unacknowledged = 0;
        }
    }

    public void Dispose()
    {
        lock (_gate)
            _disposed = true;
        _writer.Dispose();
        _work.Release();
    }

    /// <summary>What is not sent yet, the rest of a frame first, and how much of what was sent is not acknowledged.</summary>
    public (byte[] Left, byte[][] Queue, int Unacknowledged) Save()
    {
        lock (_gate)
            return (_current?[_sent..] ?? [], [.. _queue], _unacknowledged);
    }

    public void Restore(byte[] rest, byte[][] queue, int unacknowledged)
    {
        lock (_gate)
        {
            (_current, _sent) = (rest.Length == 0 ? null : rest, 0);
            _queue.Clear();
            foreach (byte[] frame in queue)
                _queue.Enqueue(frame);
            _unacknowledged = unacknowledged;
        }
        _work.Release();
    }

    private void Run()
    {
        while (true)
        {
            _work.Wait();
            while (Take())
            {
                if (!SendCurrent())
                    return;
            }
            lock (_gate)
            {
                if (_disposed)
                    return;
            }
        }
    }

    /// <summary>Sends the rest of the current frame; false if the writer was stopped.</summary>
    private bool SendCurrent()
    {
        while (_writer.WaitForDevice())
        {
            lock (_gate)
            {
                if (_current == null)
                    return true; // forgotten meanwhile
                int taken = _writer.Offer(_current.AsSpan(_sent));
                _sent += taken;
                if (_sent == _current.Length)
                {
                    _current = null;
                    return true;
                }
                if (taken > 0)
                    continue;
            }
            _writer.WaitForRoom();
        }
        return false;
    }

    /// <summary>Makes the next frame the current one, if there is one and the line has credit for it.</summary>
    private bool Take()
    {
        lock (_gate)
        {
            if (_disposed)
                return false;
            if (_current != null)
                return true;
            if (!_queue.TryPeek(out byte[]? frame) || _unacknowledged + frame.Length > Frame.LineWindow)
                return false;
            (_current, _sent) = (_queue.Dequeue(), 0);
            _unacknowledged += frame.Length;
            return true;
        }
    }
}
