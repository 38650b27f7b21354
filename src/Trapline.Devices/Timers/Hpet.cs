using Trapline.Core;

namespace Trapline.Devices.Timers;

/// <summary>State of one HPET comparator.</summary>
public sealed record HpetTimerState(ulong Config, ulong Comparator, ulong Period, ulong FsbRoute, long Due, bool HasDue);

/// <summary>State of an HPET.</summary>
[SavedState("hpet", 1)]
public sealed record HpetState(ulong Config, ulong Status, ulong CounterOffset, HpetTimerState[] Timers, bool LegacyTimer, bool LegacyClock);

/// <summary>High precision event timers, one block of three (IA-PC HPET specification 1.0a), at 100 MHz.</summary>
/// <remarks>
/// While the guest routes timers 0 and 1 to the legacy interrupts, the 8254 and the RTC are cut off: they must drive
/// <see cref="LegacyTimerInput"/> and <see cref="LegacyClockInput"/>. Lock order: 8254 or RTC, then this, then the lines.
/// </remarks>
public sealed class Hpet : IMmioDevice, ISavedDevice<HpetState>, IDisposable
{
    private const int TimerCount = 3;
    private const long NanosecondsPerTick = 10;
    private const long ShortestWait = 50_000; // periodic timers wake the host no more often than this
    private const ulong Enable = 1, LegacyRoute = 2;
    private const ulong LevelTriggered = 1 << 1, InterruptEnable = 1 << 2, Periodic = 1 << 3, SetValue = 1 << 6, Narrow = 1 << 8;
    private const ulong FsbEnable = 1 << 14;
    private const ulong TimerWritable = LevelTriggered | InterruptEnable | Periodic | SetValue | Narrow | (31 << 9) | FsbEnable;
    private const ulong TimerCapabilities = (1 << 4) | (1 << 5) | (1 << 15); // periodic, 64 bits, FSB delivery

    private readonly Lock _lock = new();
    private readonly IGuestClock _clock;
    private readonly IMsiSink _msi;
    private readonly InterruptLine _irq0, _irq8;
    private readonly InterruptLine?[] _routes;
    private readonly Comparator[] _timers = new Comparator[TimerCount];
    private readonly uint _routeMask;
    private ulong _config, _status;
    private ulong _offset; // counter = offset (+ clock ticks while enabled)
    private bool _legacyTimer, _legacyClock;

    /// <param name="irq0">Legacy timer interrupt.</param>
    /// <param name="irq8">Legacy clock interrupt.</param>
    /// <param name="routes">I/O APIC inputs that timers may be routed to, by number; null where they may not.</param>
    public Hpet(IGuestClock clock, IMsiSink msi, InterruptLine irq0, InterruptLine irq8, IReadOnlyList<InterruptLine?> routes)
    {
        _clock = clock;
        _msi = msi;
        _irq0 = irq0;
        _irq8 = irq8;
        _routes = new InterruptLine?[32];
        for (int i = 0; i < Math.Min(routes.Count, 32); i++)
        {
            _routes[i] = routes[i];
            _routeMask |= routes[i] is null ? 0 : 1u << i;
        }
        for (int i = 0; i < TimerCount; i++)
            _timers[i] = new Comparator(this, i);
        LegacyTimerInput = new LegacyInput(this, isClock: false);
        LegacyClockInput = new LegacyInput(this, isClock: true);
    }

    /// <summary>What the 8254's counter 0 drives.</summary>
    public InterruptLine LegacyTimerInput { get; }

    /// <summary>What the RTC drives.</summary>
    public InterruptLine LegacyClockInput { get; }

    private bool Running => (_config & Enable) != 0;

    private ulong Counter => Running ? _offset + (ulong)(_clock.Nanoseconds / NanosecondsPerTick) : _offset;

    /// <summary>Vendor 8086h, legacy routing, 64 bits, three timers, revision 1; period in femtoseconds.</summary>
    private static ulong Capabilities => (10_000_000ul << 32) | 0x8086_0000 | (1 << 15) | (1 << 13) | ((TimerCount - 1) << 8) | 1;

    public void Reset()
    {
        lock (_lock)
        {
            _config = _status = _offset = 0;
            foreach (Comparator timer in _timers)
                timer.Reset();
            DriveLegacy();
        }
    }

    /// <summary>1,024 bytes; registers are read in 4 or 8 bytes (smaller reads work too).</summary>
    public ulong ReadMmio(ulong offset, int size)
    {
        lock (_lock)
        {
            ulong value = ReadRegister(offset & ~7ul);
            int shift = (int)(offset & 7) * 8;
            return value >> shift;
        }
    }

    public void WriteMmio(ulong offset, int size, ulong value)
    {
        if (size < 4 || (offset & 3) != 0 || (size == 8 && (offset & 7) != 0))
            return;
        lock (_lock)
        {
            ulong register = offset & ~7ul;
            ulong mask = size == 8 ? ulong.MaxValue : (offset & 4) != 0 ? 0xFFFF_FFFF_0000_0000 : 0xFFFF_FFFF;
            ulong bits = size == 8 ? value : (offset & 4) != 0 ? value << 32 : value & 0xFFFF_FFFF;
            WriteRegister(register, bits, mask);
        }
    }

    private ulong ReadRegister(ulong register)
    {
        switch (register)
        {
            case 0x000: return Capabilities;
            case 0x010: return _config;
            case 0x020: return _status;
            case 0x0F0: return Counter;
            default:
                if (register < 0x100 || register >= 0x100 + (TimerCount * 0x20))
                    return 0;
                return _timers[(register - 0x100) / 0x20].Read((int)register & 0x18);
        }
    }

    private void WriteRegister(ulong register, ulong bits, ulong mask)
    {
        switch (register)
        {
            case 0x010:
                WriteConfig(((_config & ~mask) | bits) & (Enable | LegacyRoute));
                break;
            case 0x020:
                _status &= ~bits;
                foreach (Comparator timer in _timers)
                    timer.DriveLevel();
                break;
            case 0x0F0:
                foreach (Comparator timer in _timers)
                    timer.CatchUp();
                ulong counter = (Counter & ~mask) | bits;
                _offset = Running ? counter - (ulong)(_clock.Nanoseconds / NanosecondsPerTick) : counter;
                foreach (Comparator timer in _timers)
                    timer.Schedule(mayBeNow: false);
                break;
            default:
                if (register >= 0x100 && register < 0x100 + (TimerCount * 0x20))
                    _timers[(register - 0x100) / 0x20].Write((int)register & 0x18, bits, mask);
                break;
        }
    }

    private void WriteConfig(ulong value)
    {
        foreach (Comparator timer in _timers)
            timer.CatchUp();
        ulong counter = Counter;
        bool legacyChanged = ((value ^ _config) & LegacyRoute) != 0;
        _config = value;
        _offset = Running ? counter - (ulong)(_clock.Nanoseconds / NanosecondsPerTick) : counter;
        if (legacyChanged)
            DriveLegacy();
        foreach (Comparator timer in _timers)
        {
            timer.Schedule(mayBeNow: false);
            timer.DriveLevel();
        }
    }

    private void DriveLegacy()
    {
        bool cutOff = (_config & LegacyRoute) != 0;
        _irq0.Set(!cutOff && _legacyTimer);
        _irq8.Set(!cutOff && _legacyClock);
    }

    public HpetState Save()
    {
        lock (_lock)
            return new HpetState(_config, _status, _offset, [.. _timers.Select(t => t.Save())], _legacyTimer, _legacyClock);
    }

    public void Restore(HpetState state)
    {
        lock (_lock)
        {
            (_config, _status, _offset) = (state.Config, state.Status, state.CounterOffset);
            (_legacyTimer, _legacyClock) = (state.LegacyTimer, state.LegacyClock);
            for (int i = 0; i < Math.Min(TimerCount, state.Timers.Length); i++)
                _timers[i].Restore(state.Timers[i]);
        }
    }

    public void Dispose()
    {
        foreach (Comparator timer in _timers)
            timer.Dispose();
    }

    /// <summary>One timer. Its due time is kept in clock nanoseconds, so that a match is noticed however late the host is.</summary>
    private sealed class Comparator : IDisposable
    {
        private readonly Hpet _owner;
        private readonly IClockTimer _timer;
        private readonly int _index;
        private ulong _config, _comparator, _period, _fsb;
        private long _due, _notBefore;
        private bool _hasDue;

        public Comparator(Hpet owner, int index)
        {
            _owner = owner;
            _index = index;
            _timer = owner._clock.CreateTimer(OnTimer);
            Reset();
        }

        private bool IsPeriodic => (_config & Periodic) != 0;
        private ulong Mask => (_config & Narrow) != 0 ? 0xFFFF_FFFF : ulong.MaxValue;

        public void Reset()
        {
            _config = _period = _fsb = 0;
            _comparator = ulong.MaxValue;
            _hasDue = false;
            _timer.Disarm();
        }

        public ulong Read(int register)
        {
            CatchUp();
            return register switch
            {
                0x00 => _config | TimerCapabilities | ((ulong)_owner._routeMask << 32),
                0x08 => _comparator & Mask,
                0x10 => _fsb,
                _ => 0,
            };
        }

        public void Write(int register, ulong bits, ulong mask)
        {
            CatchUp();
            switch (register)
            {
                case 0x00:
                    _config = ((_config & ~mask) | bits) & TimerWritable;
                    if ((_config & LevelTriggered) == 0)
                        _owner._status &= ~(1ul << _index);
                    Schedule(mayBeNow: false);
                    DriveLevel();
                    break;
                case 0x08:
                    WriteComparator(bits, mask);
                    break;
                case 0x10:
                    _fsb = (_fsb & ~mask) | bits;
                    break;
            }
        }

        /// <summary>In periodic mode every write is the period; with VAL_SET it is the next match too (2.3.9.2.2).</summary>
        private void WriteComparator(ulong bits, ulong mask)
        {
            if (IsPeriodic)
                _period = ((_period & ~mask) | bits) & Mask;
            if (!IsPeriodic || (_config & SetValue) != 0)
                _comparator = (_comparator & ~mask) | bits;
            _config &= ~SetValue;
            Schedule(mayBeNow: true);
        }

        /// <summary>Computes when the counter next equals the comparator.</summary>
        public void Schedule(bool mayBeNow)
        {
            _hasDue = false;
            if (_owner.Running)
            {
                ulong distance = (_comparator - _owner.Counter) & Mask;
                if (distance == 0 && !mayBeNow)
                    distance = Mask;
                // A match further off than three centuries does not come.
                if (distance < long.MaxValue / 100)
                {
                    long tick = _owner._clock.Nanoseconds / NanosecondsPerTick;
                    _due = (tick + (long)distance) * NanosecondsPerTick;
                    _hasDue = true;
                }
            }
            Arm();
        }

        private void Arm()
        {
            // A match that raises nothing is found when somebody looks: Linux leaves its periodic timer running so.
            if (!_hasDue || (_config & (InterruptEnable | LevelTriggered)) == 0)
                _timer.Disarm();
            else
                _timer.Arm(Math.Max(_due, _notBefore));
        }

        private void OnTimer()
        {
            lock (_owner._lock)
            {
                CatchUp();
                Arm();
            }
        }

        public void CatchUp()
        {
            long now = _owner._clock.Nanoseconds;
            if (!_hasDue || now < _due)
                return;
            _hasDue = false;
            if (IsPeriodic && _period != 0)
            {
                _notBefore = now + ShortestWait;
                ulong passed = (ulong)((now - _due) / NanosecondsPerTick / (long)Math.Min(_period, long.MaxValue / 100)) + 1;
                _comparator = (_comparator + (passed * _period)) & Mask;
                ulong step = passed * _period;
                if (step < long.MaxValue / 100)
                {
                    _due += (long)step * NanosecondsPerTick;
                    _hasDue = true;
                }
            }
            else if ((_config & Narrow) != 0)
            {
                _due += (1L << 32) * NanosecondsPerTick; // the 32-bit counter comes round
                _hasDue = true;
            }
            Fire();
        }

        private void Fire()
        {
            if ((_config & LevelTriggered) != 0)
            {
                _owner._status |= 1ul << _index;
                DriveLevel();
            }
            else if ((_config & InterruptEnable) != 0)
            {
                if ((_config & FsbEnable) != 0)
                    _owner._msi.Send(new MsiMessage(_fsb >> 32, (uint)_fsb));
                else
                    Line?.Pulse();
            }
        }

        private InterruptLine? Line
        {
            get
            {
                if ((_owner._config & LegacyRoute) != 0 && _index < 2)
                    return _index == 0 ? _owner._irq0 : _owner._irq8;
                return _owner._routes[(_config >> 9) & 31];
            }
        }

        public void DriveLevel()
        {
            if ((_config & LevelTriggered) == 0 || (_config & FsbEnable) != 0)
                return;
            Line?.Set((_config & InterruptEnable) != 0 && (_owner._status & (1ul << _index)) != 0);
        }

        public HpetTimerState Save() => new(_config, _comparator, _period, _fsb, _due, _hasDue);

        public void Restore(HpetTimerState s)
        {
            (_config, _comparator, _period, _fsb, _due, _hasDue) = (s.Config, s.Comparator, s.Period, s.FsbRoute, s.Due, s.HasDue);
            Arm();
            DriveLevel();
        }

        public void Dispose() => _timer.Dispose();
    }

    private sealed class LegacyInput(Hpet owner, bool isClock) : InterruptLine
    {
        public override void Set(bool level)
        {
            lock (owner._lock)
            {
                if (isClock)
                    owner._legacyClock = level;
                else
                    owner._legacyTimer = level;
                if ((owner._config & LegacyRoute) == 0)
                    (isClock ? owner._irq8 : owner._irq0).Set(level);
            }
        }
    }
}
