using Trapline.Core;

namespace Trapline.Devices.Serial;

/// <summary>State of a 16550A.</summary>
[SavedState("serial16550", 1)]
public sealed record Serial16550State(
    byte InterruptEnable, byte LineControl, byte ModemControl, byte LineErrors, byte ModemDelta, byte Scratch, ushort Divisor,
    bool FifoEnabled, byte TriggerLevel, byte[] Received, bool TransmitEmptyPending, bool Timeout, long TimeoutDeadline, bool InputRefused);

/// <summary>The 16550A UART (National PC16550D datasheet). What the guest sends leaves at once, whatever the baud rate.</summary>
/// <remarks>The INTR pin is not gated by OUT2: that gate is the PC's wiring, and many guests do without it. The lock is held while the
/// line is set; the back end and <see cref="RoomAvailable"/> are called with it released.</remarks>
public sealed class Serial16550 : ByteWidePorts, ICharacterSink, ISavedDevice<Serial16550State>, IDisposable
{
    private const int FifoSize = 16;
    private const byte EnableReceive = 1, EnableTransmit = 2, EnableLine = 4, EnableModem = 8;
    private const byte Dlab = 0x80, Loopback = 0x10;
    private const byte DataReady = 1, Overrun = 2, TransmitEmpty = 0x60;
    private const byte PeerReady = 0xB0; // DCD, DSR and CTS
    private const int ClockHertz = 1_843_200;

    private readonly Lock _lock = new();
    private readonly InterruptLine _line;
    private readonly ICharacterBackend _backend;
    private readonly IGuestClock _clock;
    private readonly IClockTimer _timer;
    private readonly byte[] _fifo = new byte[FifoSize];
    private int _head, _length;
    private byte _ier, _lcr, _mcr, _errors, _modemDelta, _scratch;
    private ushort _divisor = 12;
    private bool _fifoEnabled, _transmitPending, _timeout, _refused;
    private byte _trigger = 1;
    private long _timeoutDeadline;

    public Serial16550(IGuestClock clock, InterruptLine line, ICharacterBackend backend)
    {
        _clock = clock;
        _line = line;
        _backend = backend;
        _timer = clock.CreateTimer(OnTimeout);
        backend.Connect(this);
    }

    /// <inheritdoc/>
    public event Action? RoomAvailable;

    private int Capacity => _fifoEnabled ? FifoSize : 1;

    public void Reset()
    {
        lock (_lock)
        {
            _head = _length = 0;
            _ier = _lcr = _mcr = _errors = _modemDelta = _scratch = 0;
            _divisor = 12;
            _fifoEnabled = _transmitPending = _timeout = false;
            _trigger = 1;
            Update();
        }
        OfferRoom();
    }

    /// <inheritdoc/>
    public int Receive(ReadOnlySpan<byte> data)
    {
        lock (_lock)
        {
            int count = (_mcr & Loopback) != 0 ? 0 : Math.Min(data.Length, Capacity - _length);
            for (int i = 0; i < count; i++)
                Enqueue(data[i]);
            _refused = count < data.Length;
            if (count > 0)
            {
                StartTimeout();
                Update();
            }
            return count;
        }
    }

    protected override byte ReadByte(int offset)
    {
        byte value;
        lock (_lock)
        {
            value = ReadRegister(offset);
            Update();
        }
        if (offset == 0)
            OfferRoom();
        return value;
    }

    protected override void WriteByte(int offset, byte value)
    {
        bool send;
        lock (_lock)
        {
            send = WriteRegister(offset, value);
            Update();
        }
        if (send)
        {
            Span<byte> one = [value];
            _backend.Write(one);
        }
        else if (offset is 2 or 4)
        {
            OfferRoom();
        }
    }

    private byte ReadRegister(int offset)
    {
        switch (offset)
        {
            case 0 when (_lcr & Dlab) != 0: return (byte)_divisor;
            case 1 when (_lcr & Dlab) != 0: return (byte)(_divisor >> 8);
            case 0: return Dequeue();
            case 1: return _ier;
            case 2:
                byte identification = Identification;
                if (identification == 2)
                    _transmitPending = false; // reading IIR answers this source only
                return (byte)(identification | (_fifoEnabled ? 0xC0 : 0));
            case 3: return _lcr;
            case 4: return _mcr;
            case 5:
                byte status = (byte)(TransmitEmpty | _errors | (_length > 0 ? DataReady : 0));
                _errors = 0;
                return status;
            case 6:
                byte modem = (byte)(ModemLines | _modemDelta);
                _modemDelta = 0;
                return modem;
            case 7: return _scratch;
            default: return 0xFF;
        }
    }

    /// <summary>True if the byte is to be sent to the back end.</summary>
    private bool WriteRegister(int offset, byte value)
    {
        switch (offset)
        {
            case 0 when (_lcr & Dlab) != 0:
                _divisor = (ushort)((_divisor & 0xFF00) | value);
                return false;
            case 1 when (_lcr & Dlab) != 0:
                _divisor = (ushort)((_divisor & 0xFF) | (value << 8));
                return false;
            case 0:
                _transmitPending = true; // sent at once, so the register is empty again
                if ((_mcr & Loopback) == 0)
                    return true;
                ReceiveLooped(value);
                return false;
            case 1:
                if ((value & ~_ier & EnableTransmit) != 0)
                    _transmitPending = true;
                _ier = (byte)(value & 0x0F);
                StartTimeout();
                return false;
            case 2:
                WriteFifoControl(value);
                return false;
            case 3:
                _lcr = value;
                return false;
            case 4:
                byte before = ModemLines;
                _mcr = (byte)(value & 0x1F);
                NoteModemChange(before);
                return false;
            case 7:
                _scratch = value;
                return false;
            default:
                return false;
        }
    }

    private void WriteFifoControl(byte value)
    {
        bool enable = (value & 1) != 0;
        if (enable != _fifoEnabled || (enable && (value & 2) != 0))
        {
            _head = _length = 0;
            _timeout = false;
        }
        _fifoEnabled = enable;
        _trigger = !enable ? (byte)1 : (value >> 6) switch { 0 => (byte)1, 1 => (byte)4, 2 => (byte)8, _ => (byte)14 };
    }

    private void ReceiveLooped(byte value)
    {
        if (_length >= Capacity)
        {
            _errors |= Overrun;
            if (!_fifoEnabled)
                _fifo[_head] = value; // without a FIFO the newer character replaces the unread one
            return;
        }
        Enqueue(value);
        StartTimeout();
    }

    private void Enqueue(byte value) => _fifo[(_head + _length++) & (FifoSize - 1)] = value;

    private byte Dequeue()
    {
        if (_length == 0)
            return 0;
        byte value = _fifo[_head];
        _head = (_head + 1) & (FifoSize - 1);
        _length--;
        _timeout = false;
        StartTimeout();
        return value;
    }

    /// <summary>With OUT1, OUT2, DTR and RTS looped back to RI, DCD, DSR and CTS in loopback mode.</summary>
    private byte ModemLines
    {
        get
        {
            if ((_mcr & Loopback) == 0)
                return PeerReady;
            return (byte)(((_mcr & 1) << 5) | ((_mcr & 2) << 3) | ((_mcr & 4) << 4) | ((_mcr & 8) << 4));
        }
    }

    private void NoteModemChange(byte before)
    {
        byte now = ModemLines;
        int changed = (before ^ now) >> 4;
        _modemDelta |= (byte)(changed & 0b1011);
        if ((before & 0x40) != 0 && (now & 0x40) == 0)
            _modemDelta |= 4; // trailing edge of RI
    }

    /// <summary>The interrupt identification register's source, by priority (datasheet, table IV).</summary>
    private byte Identification
    {
        get
        {
            if ((_ier & EnableLine) != 0 && _errors != 0)
                return 6;
            if ((_ier & EnableReceive) != 0)
            {
                if (_length >= _trigger)
                    return 4;
                if (_timeout)
                    return 0x0C;
            }
            if ((_ier & EnableTransmit) != 0 && _transmitPending)
                return 2;
            return (_ier & EnableModem) != 0 && _modemDelta != 0 ? (byte)0 : (byte)1;
        }
    }

    private void Update() => _line.Set(Identification != 1);

    /// <summary>Characters below the trigger level interrupt when none came or went for four character times.</summary>
    private void StartTimeout()
    {
        if (!_fifoEnabled || _length == 0 || (_ier & EnableReceive) == 0)
        {
            _timeoutDeadline = 0;
            return;
        }
        long character = 160L * Math.Max((int)_divisor, 1) * 1_000_000_000 / ClockHertz; // ten bits of 16 clocks
        _timeoutDeadline = _clock.Nanoseconds + Math.Min(4 * character, 10_000_000);
        _timer.Arm(_timeoutDeadline);
    }

    private void OnTimeout()
    {
        lock (_lock)
        {
            if (_timeoutDeadline == 0 || _clock.Nanoseconds < _timeoutDeadline || _length == 0)
                return;
            _timeoutDeadline = 0;
            _timeout = true;
            Update();
        }
    }

    private void OfferRoom()
    {
        lock (_lock)
        {
            if (!_refused || (_mcr & Loopback) != 0 || _length >= Capacity)
                return;
            _refused = false;
        }
        RoomAvailable?.Invoke();
    }

    public Serial16550State Save()
    {
        lock (_lock)
        {
            byte[] received = new byte[_length];
            for (int i = 0; i < _length; i++)
                received[i] = _fifo[(_head + i) & (FifoSize - 1)];
            return new Serial16550State(_ier, _lcr, _mcr, _errors, _modemDelta, _scratch, _divisor, _fifoEnabled, _trigger, received,
                _transmitPending, _timeout, _timeoutDeadline, _refused);
        }
    }

    public void Restore(Serial16550State s)
    {
        lock (_lock)
        {
            (_ier, _lcr, _mcr, _errors, _modemDelta, _scratch) =
                (s.InterruptEnable, s.LineControl, s.ModemControl, s.LineErrors, s.ModemDelta, s.Scratch);
            (_divisor, _fifoEnabled, _trigger) = (s.Divisor, s.FifoEnabled, s.TriggerLevel);
            _head = 0;
            _length = Math.Min(s.Received.Length, FifoSize);
            s.Received.AsSpan(0, _length).CopyTo(_fifo);
            (_transmitPending, _timeout, _timeoutDeadline, _refused) =
                (s.TransmitEmptyPending, s.Timeout, s.TimeoutDeadline, s.InputRefused);
            if (_timeoutDeadline != 0)
                _timer.Arm(_timeoutDeadline);
            Update();
        }
    }

    public void Dispose() => _timer.Dispose();
}
