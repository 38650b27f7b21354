using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>State of the 8259A pair.</summary>
[SavedState("pic-pair", 1)]
public sealed record PicPairState(Pic8259State Master, Pic8259State Slave);

/// <summary>The PC's two cascaded 8259A with the edge/level registers of the EISA and PIIX chip sets; the slave sits on input 2.</summary>
/// <remarks>Lock order: device, then this, then what <c>output</c> leads to (I/O APIC, local APIC). <see cref="Acknowledge"/> must be
/// called with no local APIC lock held.</remarks>
public sealed class PicPair : ISavedDevice<PicPairState>
{
    private readonly Lock _lock = new();
    private readonly Pic8259 _master = new(elcrMask: 0xF8, isMaster: true);
    private readonly Pic8259 _slave = new(elcrMask: 0xDE, isMaster: false);
    private readonly InterruptLine _output;
    private readonly InterruptLine[] _inputs = new InterruptLine[16];

    /// <param name="output">The INTR wire: the boot processor's LINT0 (and, if wanted, an I/O APIC input in ExtINT mode).</param>
    public PicPair(InterruptLine output)
    {
        _output = output;
        for (int i = 0; i < _inputs.Length; i++)
            _inputs[i] = new Input(this, i);
        MasterPorts = new CommandPorts(this, _master);
        SlavePorts = new CommandPorts(this, _slave);
        EdgeLevelPorts = new ElcrPorts(this);
    }

    /// <summary>Two ports, 0x20 on a PC.</summary>
    public IPortDevice MasterPorts { get; }

    /// <summary>Two ports, 0xA0 on a PC.</summary>
    public IPortDevice SlavePorts { get; }

    /// <summary>Two ports, 0x4D0 on a PC: a set bit makes the input level-triggered.</summary>
    public IPortDevice EdgeLevelPorts { get; }

    /// <summary>Interrupt request 0 to 15; number 2 is the cascade and goes nowhere.</summary>
    public InterruptLine Line(int number) => _inputs[number];

    /// <summary>The INTA cycle: the vector of the most urgent request, or of the spurious interrupt (input 7 or 15).</summary>
    public int Acknowledge()
    {
        lock (_lock)
        {
            int input = _master.Accept();
            int vector;
            if (input == 2)
            {
                int second = _slave.Accept();
                vector = _slave.Vector(second < 0 ? 7 : second);
            }
            else
            {
                vector = _master.Vector(input < 0 ? 7 : input);
            }
            _output.Set(false); // INT drops at INTA; a further request is a new edge
            Update();
            return vector;
        }
    }

    public void Reset()
    {
        lock (_lock)
        {
            _master.Reset();
            _slave.Reset();
            Update();
        }
    }

    public PicPairState Save()
    {
        lock (_lock)
            return new PicPairState(_master.Save(), _slave.Save());
    }

    public void Restore(PicPairState state)
    {
        lock (_lock)
        {
            _master.Restore(state.Master);
            _slave.Restore(state.Slave);
            Update();
        }
    }

    private void SetInput(int number, bool level)
    {
        lock (_lock)
        {
            if (number >= 8)
                _slave.SetLine(number - 8, level);
            else if (number != 2)
                _master.SetLine(number, level);
            Update();
        }
    }

    private void Update()
    {
        _master.SetCascade(_slave.Pending >= 0);
        _output.Set(_master.Pending >= 0);
    }

    private sealed class Input(PicPair owner, int number) : InterruptLine
    {
        public override void Set(bool level) => owner.SetInput(number, level);
    }

    private sealed class CommandPorts(PicPair owner, Pic8259 chip) : ByteWidePorts
    {
        protected override byte ReadByte(int offset)
        {
            if (offset > 1)
                return 0xFF;
            lock (owner._lock)
            {
                byte value = chip.Read(offset, out bool acknowledged);
                if (acknowledged)
                    owner._output.Set(false);
                owner.Update();
                return value;
            }
        }

        protected override void WriteByte(int offset, byte value)
        {
            if (offset > 1)
                return;
            lock (owner._lock)
            {
                chip.Write(offset, value);
                owner.Update();
            }
        }
    }

    private sealed class ElcrPorts(PicPair owner) : ByteWidePorts
    {
        protected override byte ReadByte(int offset)
        {
            lock (owner._lock)
                return offset switch { 0 => owner._master.Elcr, 1 => owner._slave.Elcr, _ => 0xFF };
        }

        protected override void WriteByte(int offset, byte value)
        {
            if (offset > 1)
                return;
            lock (owner._lock)
            {
                (offset == 0 ? owner._master : owner._slave).WriteElcr(value);
                owner.Update();
            }
        }
    }
}
