using Trapline.Core;
using Trapline.Host;

namespace Trapline.Machine;

/// <summary>The machine's time: host monotonic time less what was spent before the start and in pauses.</summary>
/// <remarks>
/// One thread runs every timer of the machine, and sleeps until the earliest deadline. Lock order: device locks, then this clock's;
/// expired timers run with no lock held.
/// </remarks>
public sealed class GuestClock : IGuestClock, IDisposable
{
    // About 140 years: far enough, and no sum with it overflows.
    private const long FarFuture = long.MaxValue / 2;

    private readonly Lock _lock = new();
    private readonly TimerQueue _queue = new();

    /// <summary>Held while an expired timer runs.</summary>
    private readonly Lock _serving = new();
    private readonly HostEvent _changed = new();
    private readonly Thread _thread;
    private readonly DateTime _utcBase = DateTime.UtcNow;
    private readonly long _hostBase = HostTime.Nanoseconds;

    // While running, guest time is host time + _offset; while standing it is _standing.
    private long _offset;
    private long _standing;
    private long _wakeAt;
    private volatile bool _running;
    private volatile bool _disposed;

    /// <summary>A clock that stands at a moment, zero for a new machine, until <see cref="Run"/>.</summary>
    public GuestClock(long startAt = 0)
    {
        _standing = startAt;
        _thread = new Thread(ServeTimers) { IsBackground = true, Name = "machine timers" };
        _thread.Start();
    }

    public long Nanoseconds => _running ? HostTime.Nanoseconds + Volatile.Read(ref _offset) : Volatile.Read(ref _standing);

    public DateTime UtcNow => _utcBase.AddTicks((HostTime.Nanoseconds - _hostBase) / 100);

    /// <summary>IA32_TSC before the guest's adjustment.</summary>
    public ulong TimeStampCounter => MachineConstants.TscHertz == 1_000_000_000
        ? (ulong)Nanoseconds
        : (ulong)((UInt128)(ulong)Nanoseconds * MachineConstants.TscHertz / 1_000_000_000);

    /// <summary>The counter minus the host's monotonic nanoseconds; null while time stands.</summary>
    public ulong? TimeStampLead => _running && MachineConstants.TscHertz == 1_000_000_000 ? (ulong)Volatile.Read(ref _offset) : null;

    public bool IsRunning => _running;

    /// <summary>Lets time pass.</summary>
    public void Run()
    {
        lock (_lock)
        {
            if (_running)
                return;
            Volatile.Write(ref _offset, _standing - HostTime.Nanoseconds);
            _running = true;
        }
        _changed.Set();
    }

    /// <summary>Stops time. When this returns no timer runs any more, unless a timer called it.</summary>
    public void Stand()
    {
        lock (_lock)
        {
            if (!_running)
                return;
            Volatile.Write(ref _standing, HostTime.Nanoseconds + _offset);
            _running = false;
        }
        _changed.Set();
        if (Thread.CurrentThread != _thread)
            lock (_serving) { }
    }

    public IClockTimer CreateTimer(Action expired) => new ClockTimer(this, expired);

    /// <summary>Ends the timer thread, and waits for a timer that is being served.</summary>
    public void Dispose()
    {
        if (_disposed)
            return;
        Stand();
        _disposed = true;
        _changed.Set();
        if (Thread.CurrentThread != _thread)
            _thread.Join();
    }

    private void ServeTimers()
    {
        HostTime.MakeThisThreadPunctual();
        while (!_disposed)
        {
            long wakeAt;
            lock (_serving)
                wakeAt = ServeDue();
            if (wakeAt == long.MaxValue)
                _changed.Wait();
            else
                _changed.WaitUntil(wakeAt);
        }
    }

    /// <summary>Runs what is due, and returns the host time at which the next timer will be.</summary>
    private long ServeDue()
    {
        for (; ; )
        {
            ClockTimer first;
            lock (_lock)
            {
                if (!_running || _queue.Earliest is not { } earliest)
                    return _wakeAt = long.MaxValue;
                if (earliest.Deadline > HostTime.Nanoseconds + _offset)
                    return _wakeAt = earliest.Deadline - _offset;
                _queue.Remove(first = earliest);
                _wakeAt = 0;
            }
            first.Expired();
        }
    }

    private void Arm(ClockTimer timer, long deadline)
    {
        deadline = Math.Clamp(deadline, 0, FarFuture);
        bool wake;
        lock (_lock)
        {
            _queue.Remove(timer);
            timer.Deadline = deadline;
            _queue.Add(timer);
            // A thread that sleeps too short looks again by itself.
            wake = _running && deadline - _offset < _wakeAt;
        }
        if (wake)
            _changed.Set();
    }

    private void Disarm(ClockTimer timer)
    {
        // The thread may wake for nothing, which is cheaper than waking it now.
        lock (_lock)
            _queue.Remove(timer);
    }

    internal sealed class ClockTimer(GuestClock clock, Action expired) : IClockTimer
    {
        /// <summary>Place in the queue, -1 when disarmed. The clock's lock.</summary>
        public int Index { get; set; } = -1;

        /// <summary>The clock's lock.</summary>
        public long Deadline { get; set; }

        public Action Expired => expired;

        public void Arm(long deadlineNanoseconds) => clock.Arm(this, deadlineNanoseconds);

        public void Disarm() => clock.Disarm(this);

        public void Dispose() => clock.Disarm(this);
    }
}
