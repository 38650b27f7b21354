namespace Trapline.Devices.Timers;

/// <summary>State of one counter of an 8254.</summary>
public sealed record PitCounterState(
    byte Mode, byte Access, bool Bcd, bool Gate, bool Loaded, bool Counting, int Count, int NextCount, long StartTick, long HeldTicks,
    byte WriteLow, bool WriteHighNext, bool ReadHighNext, bool CountLatched, ushort LatchedCount, bool StatusLatched, byte LatchedStatus,
    long LastEvent);

/// <summary>One counter of an 8254 as a function of oscillator ticks (Intel 8254 datasheet, order 231164).</summary>
/// <remarks>Not locked and without a line: <see cref="Pit8254"/> has both. "Event" is a rise of OUT.</remarks>
internal sealed class PitCounter
{
    private const int AccessLow = 1, AccessHigh = 2;

    private byte _mode, _access = 3, _writeLow, _latchedStatus;
    private bool _bcd, _gate = true, _loaded, _counting, _writeHighNext, _readHighNext, _countLatched, _statusLatched;
    private int _count = 0x10000, _nextCount;
    private long _startTick, _heldTicks;
    private long _lastEvent; // ticks since the start that were already reported as events
    private ushort _latchedCount;

    private int Modulus => _bcd ? 10_000 : 0x10000;
    public bool IsPeriodic => _mode is 2 or 3;
    private bool IsTriggered => _mode is 1 or 5;

    public bool Gate => _gate;

    /// <summary>Ticks since the count was loaded.</summary>
    private long Elapsed(long now) => _counting ? now - _startTick : _heldTicks;

    public void WriteControl(byte value, long now)
    {
        int access = (value >> 4) & 3;
        if (access == 0)
        {
            LatchCount(now);
            return;
        }
        int mode = (value >> 1) & 7;
        _mode = (byte)(mode > 5 ? mode & 3 : mode);
        _access = (byte)access;
        _bcd = (value & 1) != 0;
        _loaded = _counting = _writeHighNext = _readHighNext = _countLatched = _statusLatched = false;
        _heldTicks = _lastEvent = 0;
        _nextCount = 0;
    }

    public void LatchCount(long now)
    {
        if (_countLatched)
            return;
        _latchedCount = CurrentCount(now);
        _countLatched = true;
    }

    public void LatchStatus(long now)
    {
        if (_statusLatched)
            return;
        _latchedStatus = (byte)((Output(now) ? 0x80 : 0) | (!_loaded || _nextCount != 0 ? 0x40 : 0) | (_access << 4) | (_mode << 1)
            | (_bcd ? 1 : 0));
        _statusLatched = true;
    }

    public void Write(byte value, long now)
    {
        switch (_access)
        {
            case AccessLow: Load(value, now); break;
            case AccessHigh: Load(value << 8, now); break;
            default:
                if (!_writeHighNext)
                {
                    _writeLow = value;
                    if (_mode == 0 && _loaded)
                    {
                        // "Writing the first byte disables counting" (mode 0).
                        _heldTicks = Elapsed(now);
                        _counting = false;
                    }
                }
                else
                {
                    Load(_writeLow | (value << 8), now);
                }
                _writeHighNext = !_writeHighNext;
                break;
        }
    }

    public byte Read(long now)
    {
        if (_statusLatched)
        {
            _statusLatched = false;
            return _latchedStatus;
        }
        ushort count = _countLatched ? _latchedCount : CurrentCount(now);
        bool high = _access == AccessHigh || (_access == 3 && _readHighNext);
        if (_access == 3)
            _readHighNext = !_readHighNext;
        if (_access != 3 || high)
            _countLatched = false;
        return (byte)(high ? count >> 8 : count);
    }

    public void SetGate(bool level, long now)
    {
        if (level == _gate)
            return;
        Advance(now);
        _gate = level;
        if (!_loaded)
            return;
        if (IsTriggered)
        {
            if (level)
                Start(now);
        }
        else if (!level)
        {
            _heldTicks = IsPeriodic ? 0 : Elapsed(now);
            _counting = false;
        }
        else
        {
            _counting = true;
            _startTick = now - _heldTicks;
            _lastEvent = Math.Min(_lastEvent, _heldTicks);
        }
    }

    /// <summary>The OUT pin.</summary>
    public bool Output(long now)
    {
        if (!_loaded)
            return _mode != 0;
        Advance(now);
        long d = Elapsed(now);
        return _mode switch
        {
            0 => d >= _count,
            1 => !_counting || d >= _count,
            2 => !_counting || d % _count != _count - 1,
            3 => !_counting || d % _count < (_count + 1) / 2,
            _ => !_counting || d != _count,
        };
    }

    /// <summary>True once for each time that OUT rose since it was last asked (several missed rises are one).</summary>
    public bool TakeEvent(long now)
    {
        Advance(now);
        if (!_loaded || !_counting)
            return false;
        long d = Elapsed(now);
        long due = NextEventTicks();
        if (due < 0 || d < due)
            return false;
        _lastEvent = IsPeriodic ? d - (d % _count) : due;
        return true;
    }

    /// <summary>The tick of the next event, or -1 if none will come by itself.</summary>
    public long NextEvent()
    {
        long due = _loaded && _counting ? NextEventTicks() : -1;
        return due < 0 ? -1 : _startTick + due;
    }

    private long NextEventTicks()
    {
        if (IsPeriodic)
            return _lastEvent < 0 ? 0 : _lastEvent - (_lastEvent % _count) + _count;
        long due = _mode >= 4 ? _count + 1 : _count; // a strobe is low for one tick
        return _lastEvent >= due ? -1 : due;
    }

    private void Load(int raw, long now)
    {
        int count = _bcd ? FromBcd(raw) : raw;
        if (count == 0)
            count = Modulus;
        Advance(now);
        if (_loaded && _counting && IsPeriodic)
        {
            // The new count is taken when the current period ends.
            long whole = Elapsed(now) / _count * _count;
            _startTick += whole;
            _lastEvent = Math.Max(_lastEvent - whole, 0);
            _nextCount = count;
            return;
        }
        _nextCount = 0;
        if (IsTriggered && _loaded && _counting && Elapsed(now) < _count)
        {
            _nextCount = count; // used by the next trigger
            return;
        }
        _count = count;
        _loaded = true;
        _heldTicks = _lastEvent = 0;
        _counting = false;
        if (!IsTriggered && _gate)
            Start(now);
    }

    private void Start(long now)
    {
        if (_nextCount != 0)
            (_count, _nextCount) = (_nextCount, 0);
        _counting = true;
        _startTick = now;
        _heldTicks = _lastEvent = 0;
    }

    /// <summary>Takes a waiting count whose period boundary has passed.</summary>
    private void Advance(long now)
    {
        if (_nextCount == 0 || !IsPeriodic || !_counting || Elapsed(now) < _count)
            return;
        bool reported = _lastEvent >= _count;
        _startTick += _count;
        (_count, _nextCount) = (_nextCount, 0);
        _lastEvent = reported ? 0 : -1; // -1: the boundary itself is still an unreported event
    }

    private ushort CurrentCount(long now)
    {
        if (!_loaded)
            return 0;
        Advance(now);
        long d = Elapsed(now);
        long value = _mode switch
        {
            2 => _count - (d % _count),
            3 => Square(d),
            _ => ((_count - d) % Modulus + Modulus) % Modulus,
        };
        value %= Modulus;
        return (ushort)(_bcd ? ToBcd((int)value) : (int)value);
    }

    /// <summary>Mode 3 counts by two in each half period.</summary>
    private long Square(long d)
    {
        long phase = d % _count;
        long half = (_count + 1) / 2;
        long within = phase < half ? phase : phase - half;
        return (_count & ~1) - (within * 2 % Math.Max(_count & ~1, 2));
    }

    private static int FromBcd(int value) =>
        (value & 15) + (((value >> 4) & 15) * 10) + (((value >> 8) & 15) * 100) + (((value >> 12) & 15) * 1000);

    private static int ToBcd(int value) =>
        (value % 10) | (value / 10 % 10 << 4) | (value / 100 % 10 << 8) | (value / 1000 % 10 << 12);

    public PitCounterState Save() => new(_mode, _access, _bcd, _gate, _loaded, _counting, _count, _nextCount, _startTick, _heldTicks,
        _writeLow, _writeHighNext, _readHighNext, _countLatched, _latchedCount, _statusLatched, _latchedStatus, _lastEvent);

    public void Restore(PitCounterState s)
    {
        (_mode, _access, _bcd, _gate, _loaded, _counting) = (s.Mode, s.Access, s.Bcd, s.Gate, s.Loaded, s.Counting);
        (_count, _nextCount, _startTick, _heldTicks) = (Math.Max(s.Count, 1), s.NextCount, s.StartTick, s.HeldTicks);
        (_writeLow, _writeHighNext, _readHighNext) = (s.WriteLow, s.WriteHighNext, s.ReadHighNext);
        (_countLatched, _latchedCount, _statusLatched, _latchedStatus) =
            (s.CountLatched, s.LatchedCount, s.StatusLatched, s.LatchedStatus);
        _lastEvent = s.LastEvent;
    }
}
