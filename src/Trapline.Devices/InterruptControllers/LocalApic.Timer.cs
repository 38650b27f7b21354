using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

// The timer: one-shot, periodic and TSC-deadline (SDM vol. 3A, 11.5.4).
//
// A running count-down is kept as the clock time at which it reaches zero; a stopped one stays at _heldCount. Expiry is noticed by
// the clock's timer or by a register access, whichever comes first, so the guest never reads a count that has run out unnoticed.
public sealed partial class LocalApic
{
    private const long NanosecondsPerSecond = 1_000_000_000;
    private const long ShortestWait = 50_000; // a periodic timer wakes the host no more often than this

    private readonly IGuestClock _clock;
    private readonly IClockTimer _timer;
    private readonly Func<ulong> _tsc;
    private readonly Func<ulong, long> _tscToNanoseconds;

    private uint _initialCount, _divide, _heldCount;
    private bool _running;
    private long _deadline, _notBefore;
    private ulong _tscDeadline;

    private enum TimerMode
    {
        OneShot = 0,
        Periodic = 1,
        TscDeadline = 2,
        Reserved = 3,
    }

    private TimerMode Mode => (TimerMode)((_lvt[LvtTimer] >> 17) & 3);

    /// <summary>log2 of the divider: 0b000 divides by 2, 0b110 by 128, 0b111 by 1.</summary>
    private int DivideShift
    {
        get
        {
            uint code = (_divide & 3) | ((_divide >> 1) & 4);
            return code == 7 ? 0 : (int)code + 1;
        }
    }

    private void ResetTimer()
    {
        _initialCount = _divide = _heldCount = 0;
        _running = false;
        _tscDeadline = 0;
        _timer.Disarm();
    }

    private long ToNanoseconds(uint count)
    {
        UInt128 ticks = (UInt128)count << DivideShift;
        if (_options.TimerHz == NanosecondsPerSecond)
            return (long)(ulong)ticks;
        // Rounded up: the guest must not see the timer early.
        return (long)(ulong)(((ticks * NanosecondsPerSecond) + (UInt128)(_options.TimerHz - 1)) / (UInt128)_options.TimerHz);
    }

    private uint CountAt(long now)
    {
        if (!_running)
            return _heldCount;
        long left = Math.Max(_deadline - now, 0);
        UInt128 ticks = _options.TimerHz == NanosecondsPerSecond
            ? (UInt128)left
            : (((UInt128)left * (UInt128)_options.TimerHz) + (NanosecondsPerSecond - 1)) / NanosecondsPerSecond;
        ticks = (ticks + ((UInt128.One << DivideShift) - 1)) >> DivideShift;
        return ticks > uint.MaxValue ? uint.MaxValue : (uint)ticks;
    }

    /// <summary>Delivers what is due. Missed periods are one interrupt: the IRR has one bit for them.</summary>
    private void CatchUp(long now)
    {
        if (_tscDeadline != 0 && _tsc() >= _tscDeadline)
        {
            _tscDeadline = 0;
            RaiseLocal(LvtTimer);
        }
        if (!_running || now < _deadline)
            return;
        if (Mode == TimerMode.Periodic)
        {
            long period = Math.Max(ToNanoseconds(_initialCount), 1);
            _deadline += (((now - _deadline) / period) + 1) * period;
            _notBefore = now + ShortestWait;
        }
        else
        {
            _running = false;
            _heldCount = 0;
        }
        RaiseLocal(LvtTimer);
    }

    private void ArmTimer()
    {
        long now = _clock.Nanoseconds;
        if (_keeper != null)
            _timer.Disarm();
        else if (_tscDeadline != 0)
            _timer.Arm(Math.Max(_tscToNanoseconds(_tscDeadline), now + 1));
        else if (_running)
            _timer.Arm(Math.Max(_deadline, _notBefore));
        else
            _timer.Disarm();
    }

    private void OnTimer()
    {
        lock (_lock)
        {
            CatchUp(_clock.Nanoseconds);
            ArmTimer();
        }
    }

    /// <summary>The vCPU's TSC jumped (a write to IA32_TSC or IA32_TSC_ADJUST): a pending TSC deadline is converted anew.</summary>
    public void TimeStampCounterChanged()
    {
        lock (_lock)
        {
            if (_tscDeadline == 0)
                return;
            CatchUp(_clock.Nanoseconds);
            ArmTimer();
        }
    }

    private uint ReadCurrentCount()
    {
        long now = _clock.Nanoseconds;
        CatchUp(now);
        return Mode == TimerMode.TscDeadline ? 0 : CountAt(now);
    }

    private void WriteInitialCount(uint value)
    {
        if (Mode == TimerMode.TscDeadline)
            return;
        long now = _clock.Nanoseconds;
        CatchUp(now);
        _initialCount = value;
        _heldCount = 0;
        _running = value != 0;
        _notBefore = 0;
        _deadline = now + ToNanoseconds(value);
        ArmTimer();
    }

    private void WriteDivide(uint value)
    {
        long now = _clock.Nanoseconds;
        CatchUp(now);
        uint count = CountAt(now);
        _divide = value & 0xB;
        if (_running)
        {
            _deadline = now + ToNanoseconds(count);
            ArmTimer();
        }
    }

    private void WriteTimerVector(uint value)
    {
        CatchUp(_clock.Nanoseconds);
        TimerMode before = Mode;
        _lvt[LvtTimer] = value;
        if (before == Mode)
            return;
        if (before == TimerMode.TscDeadline || Mode == TimerMode.TscDeadline)
        {
            // "A write to the LVT timer register that changes the timer mode disarms the local APIC timer" (11.5.4.1). Between
            // one-shot and periodic the count goes on.
            _initialCount = _heldCount = 0;
            _running = false;
            _tscDeadline = 0;
        }
        ArmTimer();
    }

    private ulong ReadTscDeadline()
    {
        CatchUp(_clock.Nanoseconds);
        return _tscDeadline;
    }

    private void WriteTscDeadline(ulong value)
    {
        if (Mode != TimerMode.TscDeadline)
            return;
        _tscDeadline = value;
        CatchUp(_clock.Nanoseconds); // a deadline in the past fires now
        ArmTimer();
    }
}
