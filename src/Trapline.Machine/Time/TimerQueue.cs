namespace Trapline.Machine;

/// <summary>A binary heap of timers by deadline that can drop any of them. No allocation once it has grown to the number of timers.</summary>
internal sealed class TimerQueue
{
    private GuestClock.ClockTimer[] _heap = new GuestClock.ClockTimer[32];
    private int _count;

    public GuestClock.ClockTimer? Earliest => _count == 0 ? null : _heap[0];

    public void Add(GuestClock.ClockTimer timer)
    {
        if (_count == _heap.Length)
            Array.Resize(ref _heap, _count * 2);
        Place(timer, _count++);
        Rise(timer);
    }

    /// <summary>Takes a timer out; nothing if it is not in.</summary>
    public void Remove(GuestClock.ClockTimer timer)
    {
        int hole = timer.Index;
        if (hole < 0)
            return;
        timer.Index = -1;
        GuestClock.ClockTimer last = _heap[--_count];
        _heap[_count] = null!;
        if (last == timer)
            return;
        Place(last, hole);
        Rise(last);
        Sink(last);
    }

    private void Place(GuestClock.ClockTimer timer, int index)
    {
        _heap[index] = timer;
        timer.Index = index;
    }

    private void Rise(GuestClock.ClockTimer timer)
    {
        while (timer.Index > 0)
        {
            GuestClock.ClockTimer parent = _heap[(timer.Index - 1) / 2];
            if (parent.Deadline <= timer.Deadline)
                return;
            Swap(parent, timer);
        }
    }

    private void Sink(GuestClock.ClockTimer timer)
    {
        while ((timer.Index * 2) + 1 < _count)
        {
            int child = (timer.Index * 2) + 1;
            if (child + 1 < _count && _heap[child + 1].Deadline < _heap[child].Deadline)
                child++;
            if (timer.Deadline <= _heap[child].Deadline)
                return;
            Swap(timer, _heap[child]);
        }
    }

    private void Swap(GuestClock.ClockTimer parent, GuestClock.ClockTimer child)
    {
        int index = parent.Index;
        Place(parent, child.Index);
        Place(child, index);
    }
}
