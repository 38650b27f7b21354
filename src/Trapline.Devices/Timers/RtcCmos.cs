using Trapline.Core;

namespace Trapline.Devices.Timers;

/// <summary>State of the real-time clock and its RAM.</summary>
[SavedState("rtc-cmos", 1)]
public sealed record RtcCmosState(byte[] Cells, byte Index, bool NmiMasked, long OffsetTicks, long SeenSecond, long SeenPeriod);

/// <summary>The MC146818 real-time clock with 128 bytes of CMOS RAM (Motorola MC146818 datasheet; the PC's century is at 0x32).</summary>
/// <remarks>
/// The time is the clock's UTC plus an offset that the guest moves by setting it. Flags are brought up to date when they are read;
/// host timers run only for interrupts that the guest enabled. Lock order: this, then the line.
/// </remarks>
public sealed class RtcCmos : ByteWidePorts, ISavedDevice<RtcCmosState>, IDisposable
{
    private const int Seconds = 0, SecondsAlarm = 1, Minutes = 2, MinutesAlarm = 3, Hours = 4, HoursAlarm = 5;
    private const int WeekDay = 6, Day = 7, Month = 8, Year = 9, A = 10, B = 11, C = 12, D = 13, Century = 0x32;
    private const byte SetBit = 0x80, PeriodicBit = 0x40, AlarmBit = 0x20, UpdateBit = 0x10, BinaryBit = 4, Hours24Bit = 2;
    private const long UpdateInProgressTicks = 244 * TimeSpan.TicksPerMicrosecond;

    private readonly Lock _lock = new();
    private readonly IGuestClock _clock;
    private readonly IClockTimer _timer;
    private readonly InterruptLine _line;
    private readonly TickRate _crystal = new(32_768);
    private readonly byte[] _cells = new byte[128];
    private byte _index;
    private bool _nmiMasked;
    private long _offset, _seenSecond, _seenPeriod;

    public RtcCmos(IGuestClock clock, InterruptLine line)
    {
        _clock = clock;
        _line = line;
        _timer = clock.CreateTimer(OnTimer);
        Reset();
    }

    /// <summary>Port 0x70's bit 7: the guest asked that NMIs be held off.</summary>
    public bool NmiMasked => Volatile.Read(ref _nmiMasked);

    /// <summary>Sets a byte of CMOS RAM (memory sizes, boot order), as firmware would. Numbers from 14; no date register but the century.</summary>
    public void SetCmos(int index, byte value)
    {
        lock (_lock)
            _cells[index & 0x7F] = value;
    }

    /// <summary>Restores the control registers; time and RAM are battery-backed and stay.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            _cells[A] = 0x26;
            _cells[B] = Hours24Bit;
            _cells[C] = 0;
            _cells[D] = 0x80;
            _seenSecond = NowTicks / TimeSpan.TicksPerSecond;
            _seenPeriod = CurrentPeriod;
            _index = D;
            _nmiMasked = false;
            Update();
        }
    }

    /// <summary>Two ports: index and data.</summary>
    protected override byte ReadByte(int offset)
    {
        if (offset != 1)
            return 0xFF; // the index is write-only
        lock (_lock)
        {
            Update();
            return ReadCell(_index);
        }
    }

    protected override void WriteByte(int offset, byte value)
    {
        lock (_lock)
        {
            if (offset == 0)
            {
                _index = (byte)(value & 0x7F);
                _nmiMasked = (value & 0x80) != 0;
            }
            else if (offset == 1)
            {
                Update();
                WriteCell(_index, value);
                Update();
            }
        }
    }

    private bool IsSet => (_cells[B] & SetBit) != 0;

    private long NowTicks => Math.Clamp(_clock.UtcNow.Ticks + _offset, DateTime.MinValue.Ticks, DateTime.MaxValue.Ticks);

    private static bool IsTime(int index) => index is Seconds or Minutes or Hours or (>= WeekDay and <= Year) or Century;

    private byte ReadCell(int index)
    {
        switch (index)
        {
            case A:
                bool updating = !IsSet && NowTicks % TimeSpan.TicksPerSecond >= TimeSpan.TicksPerSecond - UpdateInProgressTicks;
                return (byte)(_cells[A] | (updating ? 0x80 : 0));
            case C:
                byte flags = _cells[C];
                _cells[C] = 0;
                _line.Set(false);
                return flags;
            default:
                if (IsTime(index) && !IsSet)
                    StoreTime();
                return _cells[index];
        }
    }

    private void WriteCell(int index, byte value)
    {
        switch (index)
        {
            case A:
                _cells[A] = (byte)(value & 0x7F);
                _seenPeriod = CurrentPeriod;
                break;
            case B:
                bool was = IsSet;
                if (!was)
                    StoreTime(); // in the format that was in force
                if ((value & SetBit) != 0)
                    value &= unchecked((byte)~UpdateBit);
                _cells[B] = value;
                if (was && !IsSet)
                    TakeTime();
                break;
            case C or D:
                break;
            default:
                if (!IsTime(index))
                {
                    _cells[index] = value;
                    break;
                }
                if (!IsSet)
                    StoreTime();
                _cells[index] = value;
                if (!IsSet)
                    TakeTime();
                break;
        }
    }

    /// <summary>Writes the current time into the cells, in the format that register B asks for.</summary>
    private void StoreTime()
    {
        var now = new DateTime(NowTicks);
        _cells[Seconds] = Encode(now.Second);
        _cells[Minutes] = Encode(now.Minute);
        _cells[Hours] = EncodeHour(now.Hour);
        _cells[WeekDay] = Encode((int)now.DayOfWeek + 1);
        _cells[Day] = Encode(now.Day);
        _cells[Month] = Encode(now.Month);
        _cells[Year] = Encode(now.Year % 100);
        _cells[Century] = Encode(now.Year / 100);
    }

    /// <summary>Moves the clock's offset so that the time is what the cells say; nonsense is clamped.</summary>
    private void TakeTime()
    {
        int year = Math.Clamp((Decode(_cells[Century]) * 100) + Decode(_cells[Year]), 1000, 9000);
        int month = Math.Clamp(Decode(_cells[Month]), 1, 12);
        int day = Math.Clamp(Decode(_cells[Day]), 1, DateTime.DaysInMonth(year, month));
        var time = new DateTime(year, month, day, DecodeHour(_cells[Hours]), Math.Clamp(Decode(_cells[Minutes]), 0, 59),
            Math.Clamp(Decode(_cells[Seconds]), 0, 59), DateTimeKind.Utc);
        long fraction = NowTicks % TimeSpan.TicksPerSecond; // the divider chain goes on
        _offset = time.Ticks + fraction - _clock.UtcNow.Ticks;
        _seenSecond = NowTicks / TimeSpan.TicksPerSecond;
    }

    private byte Encode(int value) => (_cells[B] & BinaryBit) != 0 ? (byte)value : (byte)((value / 10 << 4) | (value % 10));

    private int Decode(byte value) => (_cells[B] & BinaryBit) != 0 ? value : ((value >> 4) * 10) + (value & 15);

    private byte EncodeHour(int hour)
    {
        if ((_cells[B] & Hours24Bit) != 0)
            return Encode(hour);
        return (byte)(Encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0));
    }

    private int DecodeHour(byte value)
    {
        if ((_cells[B] & Hours24Bit) != 0)
            return Math.Clamp(Decode(value), 0, 23);
        return (Decode((byte)(value & 0x7F)) % 12) + ((value & 0x80) != 0 ? 12 : 0);
    }

    /// <summary>log2 of the periodic interrupt's length in crystal cycles, -1 for none (datasheet, table 5).</summary>
    private int PeriodShift
    {
        get
        {
            int rate = _cells[A] & 15;
            return rate == 0 ? -1 : rate <= 2 ? rate + 6 : rate - 1;
        }
    }

    private long CurrentPeriod => PeriodShift < 0 ? 0 : _crystal.Ticks(_clock.Nanoseconds) >> PeriodShift;

    /// <summary>Brings the flags up to date, states the line's level and arms the timer for the next enabled event.</summary>
    private void Update()
    {
        long period = CurrentPeriod;
        if (period != _seenPeriod)
        {
            _seenPeriod = period;
            _cells[C] |= PeriodicBit;
        }
        long second = NowTicks / TimeSpan.TicksPerSecond;
        if (second != _seenSecond && !IsSet)
        {
            _cells[C] |= UpdateBit;
            // A gap of more than a day holds every alarm time once.
            for (long s = Math.Max(_seenSecond + 1, second - 86_400); s <= second; s++)
            {
                if (AlarmMatches(s))
                {
                    _cells[C] |= AlarmBit;
                    break;
                }
            }
        }
        _seenSecond = second;
        bool raised = (_cells[C] & _cells[B] & (PeriodicBit | AlarmBit | UpdateBit)) != 0;
        if (raised)
            _cells[C] |= 0x80;
        _line.Set((_cells[C] & 0x80) != 0);
        Arm(period);
    }

    private bool AlarmMatches(long second)
    {
        int ofDay = (int)(second % 86_400);
        return Matches(_cells[SecondsAlarm], Encode(ofDay % 60)) && Matches(_cells[MinutesAlarm], Encode(ofDay / 60 % 60))
            && Matches(_cells[HoursAlarm], EncodeHour(ofDay / 3600));
    }

    /// <summary>An alarm byte from 0xC0 up means "any".</summary>
    private static bool Matches(byte alarm, byte time) => alarm >= 0xC0 || alarm == time;

    private void Arm(long period)
    {
        long next = long.MaxValue;
        if ((_cells[B] & PeriodicBit) != 0 && PeriodShift >= 0)
            next = _crystal.Nanoseconds((period + 1) << PeriodShift);
        if ((_cells[B] & (AlarmBit | UpdateBit)) != 0 && !IsSet)
        {
            long left = TimeSpan.TicksPerSecond - (NowTicks % TimeSpan.TicksPerSecond);
            next = Math.Min(next, _clock.Nanoseconds + (left * 100));
        }
        if (next == long.MaxValue)
            _timer.Disarm();
        else
            _timer.Arm(next);
    }

    private void OnTimer()
    {
        lock (_lock)
            Update();
    }

    public RtcCmosState Save()
    {
        lock (_lock)
            return new RtcCmosState((byte[])_cells.Clone(), _index, _nmiMasked, _offset, _seenSecond, _seenPeriod);
    }

    public void Restore(RtcCmosState state)
    {
        lock (_lock)
        {
            Array.Copy(state.Cells, _cells, Math.Min(_cells.Length, state.Cells.Length));
            (_index, _nmiMasked, _offset) = ((byte)(state.Index & 0x7F), state.NmiMasked, state.OffsetTicks);
            (_seenSecond, _seenPeriod) = (state.SeenSecond, state.SeenPeriod);
            Update();
        }
    }

    public void Dispose() => _timer.Dispose();
}
