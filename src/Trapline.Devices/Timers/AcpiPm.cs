using Trapline.Core;

namespace Trapline.Devices.Timers;

/// <summary>State of the ACPI fixed hardware.</summary>
[SavedState("acpi-pm", 2)]
public sealed record AcpiPmState(ushort Status, ushort Enable, ushort Control, long SeenHalfPeriods, byte GeneralStatus, byte GeneralEnable);

/// <summary>ACPI fixed hardware: the PM1a event and control blocks, the power management timer and a block of eight general-purpose events (ACPI 6.4, 4.8).</summary>
/// <remarks>There is no legacy mode: SCI_EN is always set, so the FADT's SMI_CMD must be 0. Lock order: this, then the line; the sleep
/// callback runs with no lock held.</remarks>
public sealed class AcpiPm : ISavedDevice<AcpiPmState>, IDisposable
{
    public const int TimerHertz = 3_579_545;

    private const ushort TimerStatus = 1 << 0, PowerButtonStatus = 1 << 8, WakeStatus = 1 << 15;
    private const ushort StatusBits = 0x8731, EnableBits = 0x0721;
    private const ushort SciEnable = 1, SleepEnable = 1 << 13, ControlBits = 0x1C03;

    private readonly Lock _lock = new();
    private readonly IGuestClock _clock;
    private readonly IClockTimer _timer;
    private readonly InterruptLine _sci;
    private readonly Action<int> _sleep;
    private readonly TickRate _rate = new(TimerHertz);
    private readonly int _timerBits;
    private ushort _status, _enable, _control = SciEnable;
    private byte _generalStatus, _generalEnable;
    private long _seenHalfPeriods;

    /// <param name="sci">The system control interrupt, level-triggered.</param>
    /// <param name="sleep">Called with SLP_TYP when the guest sets SLP_EN; the DSDT's \_S5 says which type is power-off.</param>
    /// <param name="wideTimer">32 rather than 24 bits (FADT flag TMR_VAL_EXT).</param>
    public AcpiPm(IGuestClock clock, InterruptLine sci, Action<int> sleep, bool wideTimer = true)
    {
        _clock = clock;
        _sci = sci;
        _sleep = sleep;
        _timerBits = wideTimer ? 32 : 24;
        _timer = clock.CreateTimer(OnTimer);
        EventPorts = new EventBlock(this);
        ControlPorts = new ControlBlock(this);
        TimerPorts = new TimerBlock(this);
        GeneralPorts = new GeneralBlock(this);
    }

    /// <summary>Four ports: PM1_STS and PM1_EN.</summary>
    public IPortDevice EventPorts { get; }

    /// <summary>Two ports: PM1_CNT.</summary>
    public IPortDevice ControlPorts { get; }

    /// <summary>Four ports: PM_TMR, read-only.</summary>
    public IPortDevice TimerPorts { get; }

    /// <summary>Two ports: GPE0_STS and GPE0_EN.</summary>
    public IPortDevice GeneralPorts { get; }

    /// <summary>A general-purpose event, 0 to 7, which a method of the DSDT explains.</summary>
    public void RaiseGeneralEvent(int number)
    {
        lock (_lock)
        {
            _generalStatus |= (byte)(1 << number);
            Update();
        }
    }

    /// <summary>The fixed power button: asks the guest to shut down.</summary>
    public void PressPowerButton()
    {
        lock (_lock)
        {
            _status |= PowerButtonStatus;
            Update();
        }
    }

    public void Reset()
    {
        lock (_lock)
        {
            _status = _enable = 0;
            _generalStatus = _generalEnable = 0;
            _control = SciEnable;
            Update();
        }
    }

    /// <summary>Counts the toggles of the timer's highest bit.</summary>
    private long HalfPeriods => _rate.Ticks(_clock.Nanoseconds) >> (_timerBits - 1);

    private void Update()
    {
        long half = HalfPeriods;
        if (half != _seenHalfPeriods)
        {
            _seenHalfPeriods = half;
            _status |= TimerStatus;
        }
        if ((_enable & TimerStatus) != 0)
            _timer.Arm(_rate.Nanoseconds((half + 1) << (_timerBits - 1)));
        else
            _timer.Disarm();
        _sci.Set((_status & _enable) != 0 || (_generalStatus & _generalEnable) != 0);
    }

    private void OnTimer()
    {
        lock (_lock)
            Update();
    }

    public AcpiPmState Save()
    {
        lock (_lock)
            return new AcpiPmState(_status, _enable, _control, _seenHalfPeriods, _generalStatus, _generalEnable);
    }

    public void Restore(AcpiPmState state)
    {
        lock (_lock)
        {
            (_status, _enable, _control, _seenHalfPeriods) = (state.Status, state.Enable, state.Control, state.SeenHalfPeriods);
            (_generalStatus, _generalEnable) = (state.GeneralStatus, state.GeneralEnable);
            Update();
        }
    }

    public void Dispose() => _timer.Dispose();

    private sealed class EventBlock(AcpiPm owner) : ByteWidePorts
    {
        protected override byte ReadByte(int offset)
        {
            lock (owner._lock)
            {
                owner.Update();
                return offset switch
                {
                    0 => (byte)owner._status,
                    1 => (byte)(owner._status >> 8),
                    2 => (byte)owner._enable,
                    3 => (byte)(owner._enable >> 8),
                    _ => 0xFF,
                };
            }
        }

        protected override void WriteByte(int offset, byte value)
        {
            if (offset > 3)
                return;
            lock (owner._lock)
            {
                owner.Update();
                int shift = (offset & 1) * 8;
                if (offset < 2)
                    owner._status &= (ushort)~((value << shift) & StatusBits); // written ones clear
                else
                    owner._enable = (ushort)(((owner._enable & ~(0xFF << shift)) | (value << shift)) & EnableBits);
                owner.Update();
            }
        }
    }

    private sealed class ControlBlock(AcpiPm owner) : IPortDevice
    {
        public uint ReadPort(ushort offset, int size)
        {
            lock (owner._lock)
                return offset > 1 ? uint.MaxValue : (uint)owner._control >> (offset * 8);
        }

        public void WritePort(ushort offset, int size, uint value)
        {
            if (offset > 1)
                return;
            int sleep = -1;
            lock (owner._lock)
            {
                uint mask = size == 1 ? 0xFFu << (offset * 8) : 0xFFFF;
                uint merged = (owner._control & ~mask) | ((value << (offset * 8)) & mask);
                owner._control = (ushort)((merged & ControlBits) | SciEnable);
                if ((merged & SleepEnable) != 0)
                    sleep = (int)(merged >> 10) & 7;
            }
            if (sleep >= 0)
                owner._sleep(sleep);
        }
    }

    private sealed class GeneralBlock(AcpiPm owner) : ByteWidePorts
    {
        protected override byte ReadByte(int offset)
        {
            lock (owner._lock)
                return offset == 0 ? owner._generalStatus : offset == 1 ? owner._generalEnable : (byte)0xFF;
        }

        protected override void WriteByte(int offset, byte value)
        {
            lock (owner._lock)
            {
                if (offset == 0)
                    owner._generalStatus &= (byte)~value; // written ones clear
                else if (offset == 1)
                    owner._generalEnable = value;
                owner.Update();
            }
        }
    }

    private sealed class TimerBlock(AcpiPm owner) : IPortDevice
    {
        public uint ReadPort(ushort offset, int size)
        {
            if (offset > 3)
                return uint.MaxValue;
            uint mask = owner._timerBits == 32 ? uint.MaxValue : 0xFF_FFFF;
            return ((uint)owner._rate.Ticks(owner._clock.Nanoseconds) & mask) >> (offset * 8);
        }

        public void WritePort(ushort offset, int size, uint value) { }
    }

    /// <summary>Sets WAK_STS: the machine came back from a sleep state.</summary>
    public void Wake()
    {
        lock (_lock)
            _status |= WakeStatus;
    }
}
