namespace Trapline.Virtio;

/// <summary>The door between a device's workers and guest memory: they are inside while they serve, and whoever needs the device to stand closes it.</summary>
/// <remarks>Closed as often as it was closed and not opened again. Its lock is the innermost.</remarks>
internal sealed class WorkGate
{
    private readonly object _lock = new();
    private int _inside, _closers;
    private volatile bool _closed;

    /// <summary>Workers inside should leave soon.</summary>
    public bool IsClosed => _closed;

    /// <summary>False if the gate is closed; its opening is announced.</summary>
    public bool TryEnter()
    {
        lock (_lock)
        {
            if (_closers > 0)
                return false;
            _inside++;
            return true;
        }
    }

    /// <summary>True for the last one to leave through a gate that somebody closed.</summary>
    public bool Leave()
    {
        lock (_lock)
        {
            if (--_inside > 0 || _closers == 0)
                return false;
            Monitor.PulseAll(_lock);
            return true;
        }
    }

    public bool IsEmpty
    {
        get
        {
            lock (_lock)
                return _inside == 0;
        }
    }

    public void Close()
    {
        lock (_lock)
        {
            _closers++;
            _closed = true;
        }
    }

    /// <summary>Waits until all have left; the gate is closed.</summary>
    public void WaitUntilEmpty()
    {
        lock (_lock)
        {
            while (_inside > 0)
                Monitor.Wait(_lock);
        }
    }

    /// <summary>True if nobody keeps it closed any more.</summary>
    public bool Open()
    {
        lock (_lock)
        {
            _closed = --_closers > 0;
            return !_closed;
        }
    }
}
