using Trapline.Core;

namespace Trapline.Devices.Timers;

/// <summary>State of the 8254 and of port B's latches.</summary>
[SavedState("pit8254", 1)]
public sealed record Pit8254State(PitCounterState Counter0, PitCounterState Counter1, PitCounterState Counter2, byte PortB);

/// <summary>The 8254 interval timer, with the PC's port B (0x61) that gates counter 2.</summary>
/// <remarks>Counter 0 drives the interrupt line with one low-high transition for each rise of OUT; rises that the host was too late
/// for are one interrupt. Lock order: this, then the line.</remarks>
public sealed class Pit8254 : ByteWidePorts, ISavedDevice<Pit8254State>, IDisposable
{
    /// <summary>The PC's oscillator, 105/88 MHz.</summary>
    public const int Hertz = 1_193_182;

    private const long ShortestWait = 50_000; // from one interrupt to the next wake of the host

    private readonly Lock _lock = new();
    private readonly PitCounter[] _counters = [new(), new(), new()];
    private readonly IGuestClock _clock;
    private readonly IClockTimer _timer;
    private readonly InterruptLine _line;
    private readonly TickRate _rate = new(Hertz);
    private byte _portB;
    private long _notBefore; // nanoseconds; the host is not woken earlier than this

    public Pit8254(IGuestClock clock, InterruptLine counter0)
    {
        _clock = clock;
        _line = counter0;
        _timer = clock.CreateTimer(OnTimer);
        PortB = new PortBRegister(this);
        Reset();
    }

    /// <summary>One port, 0x61 on a PC: gate and output of counter 2, speaker, refresh toggle.</summary>
    public IPortDevice PortB { get; }

    /// <summary>Returns to the power-up state: no counter counts.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            foreach (PitCounter counter in _counters)
                counter.WriteControl(0x30, 0);
            _portB = 0;
            _counters[2].SetGate(false, 0);
            Update(Now);
        }
    }

    private long Now => _rate.Ticks(_clock.Nanoseconds);

    /// <summary>Four ports: counters 0 to 2 and the control word.</summary>
    protected override byte ReadByte(int offset)
    {
        if (offset >= 3)
            return 0xFF;
        lock (_lock)
            return _counters[offset].Read(Now);
    }

    protected override void WriteByte(int offset, byte value)
    {
        if (offset > 3)
            return;
        lock (_lock)
        {
            long now = Now;
            if (offset < 3)
                _counters[offset].Write(value, now);
            else if (value >> 6 < 3)
                _counters[value >> 6].WriteControl(value, now);
            else
                ReadBack(value, now);
            Update(now);
        }
    }

    private void ReadBack(byte value, long now)
    {
        for (int i = 0; i < 3; i++)
        {
            if ((value & (2 << i)) == 0)
                continue;
            if ((value & 0x20) == 0)
                _counters[i].LatchCount(now);
            if ((value & 0x10) == 0)
                _counters[i].LatchStatus(now);
        }
    }

    private void Update(long now)
    {
        PitCounter counter = _counters[0];
        if (counter.TakeEvent(now))
        {
            _line.Set(false);
            _line.Set(true);
            _notBefore = _clock.Nanoseconds + ShortestWait;
        }
        if (!counter.IsPeriodic)
            _line.Set(counter.Output(now)); // the short low phases of modes 2 and 3 are seen only as edges
        long next = counter.NextEvent();
        if (next < 0)
            _timer.Disarm();
        else
            _timer.Arm(Math.Max(_rate.Nanoseconds(next), _notBefore));
    }

    private void OnTimer()
    {
        lock (_lock)
            Update(Now);
    }

    public Pit8254State Save()
    {
        lock (_lock)
            return new Pit8254State(_counters[0].Save(), _counters[1].Save(), _counters[2].Save(), _portB);
    }

    public void Restore(Pit8254State state)
    {
        lock (_lock)
        {
            _counters[0].Restore(state.Counter0);
            _counters[1].Restore(state.Counter1);
            _counters[2].Restore(state.Counter2);
            _portB = state.PortB;
            Update(Now);
        }
    }

    public void Dispose() => _timer.Dispose();

    private sealed class PortBRegister(Pit8254 owner) : ByteWidePorts
    {
        private const long RefreshPeriod = 15_085; // nanoseconds between DRAM refreshes

        protected override byte ReadByte(int offset)
        {
            if (offset != 0)
                return 0xFF;
            lock (owner._lock)
            {
                int refresh = (int)(owner._clock.Nanoseconds / RefreshPeriod) & 1;
                int output = owner._counters[2].Output(owner.Now) ? 0x20 : 0;
                return (byte)(owner._portB | (refresh << 4) | output);
            }
        }

        protected override void WriteByte(int offset, byte value)
        {
            if (offset != 0)
                return;
            lock (owner._lock)
            {
                owner._portB = (byte)(value & 0x0F);
                owner._counters[2].SetGate((value & 1) != 0, owner.Now);
            }
        }
    }
}
