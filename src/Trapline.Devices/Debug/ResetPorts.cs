using Trapline.Core;

namespace Trapline.Devices.Debug;

/// <summary>State of the reset and A20 ports.</summary>
[SavedState("reset-ports", 1)]
public sealed record ResetPortState(byte Value);

/// <summary>System control port A, one port (0x92): bit 0 resets the processor, bit 1 opens the A20 gate.</summary>
/// <param name="reset">Called when bit 0 rises.</param>
/// <param name="a20">Called when the A20 gate's latch changes; the gate is open at power-up.</param>
public sealed class SystemControlPortA(Action reset, Action<bool>? a20 = null) : ByteWidePorts, ISavedDevice<ResetPortState>
{
    private readonly Lock _lock = new();
    private byte _value = 2;

    protected override byte ReadByte(int offset)
    {
        lock (_lock)
            return offset == 0 ? _value : (byte)0xFF;
    }

    protected override void WriteByte(int offset, byte value)
    {
        if (offset != 0)
            return;
        byte changed, rising;
        lock (_lock)
        {
            changed = (byte)(value ^ _value);
            rising = (byte)(value & ~_value);
            _value = (byte)(value & 0x03);
        }
        if ((changed & 2) != 0)
            a20?.Invoke((value & 2) != 0);
        if ((rising & 1) != 0)
            reset();
    }

    public void Reset()
    {
        lock (_lock)
            _value = 2;
    }

    public ResetPortState Save()
    {
        lock (_lock)
            return new ResetPortState(_value);
    }

    public void Restore(ResetPortState state)
    {
        lock (_lock)
            _value = state.Value;
    }
}

/// <summary>Reset control, one port (0xCF9; ICH9 datasheet, 13.7.5): a rise of bit 2 resets, the whole system if bit 1 or 3 is set.</summary>
/// <param name="reset">Called with true for a system (hard) reset and false for a processor (soft) reset.</param>
public sealed class ResetControl(Action<bool> reset) : ByteWidePorts, ISavedDevice<ResetPortState>
{
    private readonly Lock _lock = new();
    private byte _value;

    protected override byte ReadByte(int offset)
    {
        lock (_lock)
            return offset == 0 ? _value : (byte)0xFF;
    }

    protected override void WriteByte(int offset, byte value)
    {
        if (offset != 0)
            return;
        bool fire;
        lock (_lock)
        {
            fire = (value & ~_value & 4) != 0;
            _value = (byte)(value & 0x0A); // bit 2 falls with the reset it makes
        }
        if (fire)
            reset((value & 0x0A) != 0);
    }

    public void Reset()
    {
        lock (_lock)
            _value = 0;
    }

    public ResetPortState Save()
    {
        lock (_lock)
            return new ResetPortState(_value);
    }

    public void Restore(ResetPortState state)
    {
        lock (_lock)
            _value = state.Value;
    }
}
