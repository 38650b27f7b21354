using Trapline.Core;

namespace Trapline.Devices.Ps2;

/// <summary>State of the keyboard controller.</summary>
[SavedState("i8042", 1)]
public sealed record I8042State(byte CommandByte, byte OutputPort, byte[] Output, bool[] OutputIsMouse, byte Expecting, byte LastWasCommand);

/// <summary>The 8042 keyboard controller of a PC with nothing plugged into it (IBM PS/2 technical reference, keyboard controller).</summary>
/// <remarks>It answers every controller command and resets the processor; commands to the missing keyboard or mouse get the time-out
/// answer 0xFE. Lock order: this, then the lines; the callbacks run with the lock released.</remarks>
public sealed class I8042 : ISavedDevice<I8042State>
{
    private const byte OutputFull = 1, SystemFlag = 4, CommandFlag = 8, NotInhibited = 0x10, MouseData = 0x20, TimeOut = 0x40;
    private const int Capacity = 16;

    private readonly Lock _lock = new();
    private readonly InterruptLine _keyboardLine, _mouseLine;
    private readonly Action _reset;
    private readonly Action<bool>? _a20;
    private readonly byte[] _output = new byte[Capacity];
    private readonly bool[] _isMouse = new bool[Capacity];
    private int _head, _length;
    private byte _commandByte, _outputPort, _expecting, _flags;

    /// <param name="keyboard">IRQ 1.</param>
    /// <param name="mouse">IRQ 12.</param>
    /// <param name="reset">The processor's reset line was pulsed (command 0xFE, or output port bit 0 cleared).</param>
    /// <param name="a20">The A20 gate's latch changed.</param>
    public I8042(InterruptLine keyboard, InterruptLine mouse, Action reset, Action<bool>? a20 = null)
    {
        _keyboardLine = keyboard;
        _mouseLine = mouse;
        _reset = reset;
        _a20 = a20;
        DataPort = new Data(this);
        CommandPort = new Command(this);
        Reset();
    }

    /// <summary>One port (0x60).</summary>
    public IPortDevice DataPort { get; }

    /// <summary>One port (0x64): status and commands.</summary>
    public IPortDevice CommandPort { get; }

    public void Reset()
    {
        lock (_lock)
        {
            _head = _length = 0;
            _commandByte = 0x30 | SystemFlag; // both ports disabled until firmware or a driver enables them
            _outputPort = 0x03;
            _expecting = _flags = 0;
            Update();
        }
    }

    private void Enqueue(byte value, bool mouse = false)
    {
        if (_length == Capacity)
            return;
        int tail = (_head + _length++) & (Capacity - 1);
        _output[tail] = value;
        _isMouse[tail] = mouse;
    }

    private void Update()
    {
        bool mouse = _length > 0 && _isMouse[_head];
        _keyboardLine.Set(_length > 0 && !mouse && (_commandByte & 1) != 0);
        _mouseLine.Set(mouse && (_commandByte & 2) != 0);
    }

    private byte ReadData()
    {
        lock (_lock)
        {
            byte value = _output[_head];
            if (_length > 0)
            {
                _head = (_head + 1) & (Capacity - 1);
                _length--;
                // Each byte is an edge of its own.
                _keyboardLine.Set(false);
                _mouseLine.Set(false);
                Update();
            }
            _flags &= unchecked((byte)~TimeOut);
            return value;
        }
    }

    private byte ReadStatus()
    {
        lock (_lock)
        {
            int status = NotInhibited | (_commandByte & SystemFlag) | _flags;
            if (_length > 0)
                status |= _isMouse[_head] ? OutputFull | MouseData : OutputFull;
            return (byte)status;
        }
    }

    private void WriteData(byte value)
    {
        bool reset = false;
        int a20 = -1;
        lock (_lock)
        {
            byte expecting = _expecting;
            _expecting = 0;
            _flags &= unchecked((byte)~CommandFlag);
            switch (expecting)
            {
                case 0x60:
                    _commandByte = (byte)(value & 0x7F);
                    break;
                case 0xD1:
                    a20 = SetOutputPort(value);
                    reset = (value & 1) == 0;
                    break;
                case 0xD2:
                    Enqueue(value);
                    break;
                case 0xD3:
                    Enqueue(value, mouse: true);
                    break;
                case 0xD4: // to the mouse that is not there
                    Enqueue(0xFE, mouse: true);
                    _flags |= TimeOut;
                    break;
                case 0:
                    _commandByte &= 0xEF; // sending to the keyboard enables its clock
                    Enqueue(0xFE);
                    _flags |= TimeOut;
                    break;
            }
            Update();
        }
        Report(a20, reset);
    }

    private void WriteCommand(byte value)
    {
        bool reset = false;
        int a20 = -1;
        lock (_lock)
        {
            _flags |= CommandFlag;
            _expecting = 0;
            switch (value)
            {
                case 0x20: Enqueue(_commandByte); break;
                case 0x60 or 0xD1 or 0xD2 or 0xD3 or 0xD4: _expecting = value; break;
                case 0xA7: _commandByte |= 0x20; break;
                case 0xA8: _commandByte &= 0xDF; break;
                case 0xA9: Enqueue(0x00); break; // mouse interface test: no error
                case 0xAA: // self-test
                    _head = _length = 0;
                    _commandByte |= SystemFlag;
                    Enqueue(0x55);
                    break;
                case 0xAB: Enqueue(0x00); break; // keyboard interface test
                case 0xAD: _commandByte |= 0x10; break;
                case 0xAE: _commandByte &= 0xEF; break;
                case 0xC0: Enqueue(0x80); break; // input port: keyboard not locked
                case 0xD0: Enqueue((byte)(_outputPort | (_length > 0 ? 0x10 : 0))); break;
                case 0xDD: a20 = SetOutputPort((byte)(_outputPort & ~2)); break;
                case 0xDF: a20 = SetOutputPort((byte)(_outputPort | 2)); break;
                case >= 0xF0: reset = (value & 1) == 0; break; // pulse output lines that are 0 in the low four bits
            }
            Update();
        }
        Report(a20, reset);
    }

    private int SetOutputPort(byte value)
    {
        bool changed = ((value ^ _outputPort) & 2) != 0;
        _outputPort = (byte)(value | 1);
        return changed ? (value >> 1) & 1 : -1;
    }

    private void Report(int a20, bool reset)
    {
        if (a20 >= 0)
            _a20?.Invoke(a20 == 1);
        if (reset)
            _reset();
    }

    public I8042State Save()
    {
        lock (_lock)
        {
            byte[] output = new byte[_length];
            bool[] mouse = new bool[_length];
            for (int i = 0; i < _length; i++)
            {
                output[i] = _output[(_head + i) & (Capacity - 1)];
                mouse[i] = _isMouse[(_head + i) & (Capacity - 1)];
            }
            return new I8042State(_commandByte, _outputPort, output, mouse, _expecting, _flags);
        }
    }

    public void Restore(I8042State s)
    {
        lock (_lock)
        {
            (_commandByte, _outputPort, _expecting, _flags) = (s.CommandByte, s.OutputPort, s.Expecting, s.LastWasCommand);
            _head = _length = 0;
            for (int i = 0; i < Math.Min(s.Output.Length, s.OutputIsMouse.Length); i++)
                Enqueue(s.Output[i], s.OutputIsMouse[i]);
            Update();
        }
    }

    private sealed class Data(I8042 owner) : ByteWidePorts
    {
        protected override byte ReadByte(int offset) => offset == 0 ? owner.ReadData() : (byte)0xFF;

        protected override void WriteByte(int offset, byte value)
        {
            if (offset == 0)
                owner.WriteData(value);
        }
    }

    private sealed class Command(I8042 owner) : ByteWidePorts
    {
        protected override byte ReadByte(int offset) => offset == 0 ? owner.ReadStatus() : (byte)0xFF;

        protected override void WriteByte(int offset, byte value)
        {
            if (offset == 0)
                owner.WriteCommand(value);
        }
    }
}
