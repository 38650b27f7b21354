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

    private void Run()
    {
        while (true)
        {
            _work.Wait();
            while (TryTake(out byte[]? frame))
            {
                if (!_writer.Write(frame))
                    return;
            }
            lock (_gate)
            {
                if (_disposed)
                    return;
            }
        }
    }

    private bool TryTake([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out byte[]? frame)
    {
        lock (_gate)
        {
            if (_disposed || !_queue.TryPeek(out frame) || _unacknowledged + frame.Length > Frame.LineWindow)
            {
                frame = null;
                return false;
            }
            _queue.Dequeue();
            _unacknowledged += frame.Length;
            return true;
        }
    }
}
