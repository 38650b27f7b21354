using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>State of an I/O APIC.</summary>
[SavedState("io-apic", 1)]
public sealed record IoApicState(byte Id, byte Select, ulong[] Redirection, uint Lines);

/// <summary>The 82093AA I/O APIC with the EOI register of version 0x20 (Intel 290566; ICH9 datasheet, 13.5).</summary>
/// <remarks>Lock order: device, then this, then the local APICs. An edge that arrives while its input is masked is lost; a level is
/// not. Polarity is the board's matter: a line's <c>true</c> means asserted.</remarks>
public sealed class IoApic : IMmioDevice, ISavedDevice<IoApicState>
{
    private const ulong Masked = 1 << 16;
    private const ulong LevelTriggered = 1 << 15;
    private const ulong RemoteIrr = 1 << 14;
    private const ulong DeliveryStatus = 1 << 12;
    private const ulong Logical = 1 << 11;
    private const ulong Writable = 0xFF00_0000_0001_AFFF;

    private readonly Lock _lock = new();
    private readonly ApicBus _bus;
    private readonly InterruptLine[] _inputs;
    private readonly ulong[] _redirection;
    private uint _lines;
    private byte _id, _select;

    /// <param name="bus">Where interrupts go; the new I/O APIC attaches itself for EOIs.</param>
    /// <param name="inputs">Number of inputs, at most 32.</param>
    public IoApic(ApicBus bus, int inputs = 24)
    {
        _bus = bus;
        _redirection = new ulong[inputs];
        _inputs = new InterruptLine[inputs];
        for (int i = 0; i < inputs; i++)
            _inputs[i] = new Input(this, i);
        Reset();
        bus.Attach(this);
    }

    /// <summary>One input pin.</summary>
    public InterruptLine Line(int number) => _inputs[number];

    public void Reset()
    {
        lock (_lock)
        {
            _id = _select = 0;
            Array.Fill(_redirection, Masked);
        }
    }

    /// <summary>IOREGSEL at 0x00, IOWIN at 0x10, EOI at 0x40.</summary>
    public ulong ReadMmio(ulong offset, int size)
    {
        lock (_lock)
        {
            return (offset & 0xFF) switch
            {
                0x00 => _select,
                0x10 => ReadRegister(),
                _ => 0,
            };
        }
    }

    public void WriteMmio(ulong offset, int size, ulong value)
    {
        switch (offset & 0xFF)
        {
            case 0x00:
                lock (_lock)
                    _select = (byte)value;
                break;
            case 0x10:
                if (size < 4)
                    return; // IOWIN takes whole registers
                lock (_lock)
                    WriteRegister((uint)value);
                break;
            case 0x40:
                EndOfInterrupt((byte)value);
                break;
        }
    }

    /// <summary>The EOI of a level-triggered vector: its inputs may interrupt again, and do if they are still asserted.</summary>
    internal void EndOfInterrupt(byte vector)
    {
        lock (_lock)
        {
            for (int i = 0; i < _redirection.Length; i++)
            {
                ulong entry = _redirection[i];
                if ((byte)entry != vector || (entry & LevelTriggered) == 0)
                    continue;
                _redirection[i] &= ~RemoteIrr;
                ServeLevel(i);
            }
        }
    }

    public IoApicState Save()
    {
        lock (_lock)
            return new IoApicState(_id, _select, (ulong[])_redirection.Clone(), _lines);
    }

    public void Restore(IoApicState state)
    {
        lock (_lock)
        {
            (_id, _select, _lines) = (state.Id, state.Select, state.Lines);
            Array.Copy(state.Redirection, _redirection, Math.Min(_redirection.Length, state.Redirection.Length));
            ShowEndsLocked();
        }
    }

    private uint ReadRegister()
    {
        switch (_select)
        {
            case 0 or 2: // the arbitration id follows the id
                return (uint)_id << 24;
            case 1:
                return 0x20u | ((uint)(_redirection.Length - 1) << 16);
            default:
                int index = (_select - 0x10) >> 1;
                if (_select < 0x10 || index >= _redirection.Length)
                    return 0;
                return (uint)(_redirection[index] >> ((_select & 1) * 32));
        }
    }

    private void WriteRegister(uint value)
    {
        if (_select == 0)
        {
            _id = (byte)((value >> 24) & 0xF);
            return;
        }
        int index = (_select - 0x10) >> 1;
        if (_select < 0x10 || index >= _redirection.Length)
            return;
        ulong old = _redirection[index];
        ulong entry = (_select & 1) == 0
            ? (old & 0xFFFF_FFFF_0000_0000) | value
            : (uint)old | ((ulong)value << 32);
        entry = (entry & Writable) | (old & (RemoteIrr | DeliveryStatus));
        if ((entry & LevelTriggered) == 0)
            entry &= ~RemoteIrr; // software without an EOI register clears it this way
        _redirection[index] = entry;
        ShowEndsLocked();
        ServeLevel(index);
    }

    private void SetInput(int index, bool level)
    {
        lock (_lock)
        {
            uint bit = 1u << index;
            bool rising = level && (_lines & bit) == 0;
            _lines = level ? _lines | bit : _lines & ~bit;
            if (!rising)
                return;
            ulong entry = _redirection[index];
            if ((entry & LevelTriggered) != 0)
                ServeLevel(index);
            else if ((entry & Masked) == 0)
                Send(entry);
        }
    }

    private void ServeLevel(int index)
    {
        ulong entry = _redirection[index];
        if ((entry & (LevelTriggered | Masked | RemoteIrr)) != LevelTriggered || (_lines & (1u << index)) == 0)
            return;
        if (Send(entry))
            _redirection[index] |= RemoteIrr;
    }

    private bool Send(ulong entry) => _bus.Deliver(MessageOf(entry));

    private static ApicMessage MessageOf(ulong entry)
    {
        var mode = (DeliveryMode)((entry >> 8) & 7);
        // Level triggering means something to fixed and lowest-priority interrupts only.
        bool level = (entry & LevelTriggered) != 0 && mode is DeliveryMode.Fixed or DeliveryMode.LowestPriority;
        return new ApicMessage((uint)(entry >> 56), Wide: false, (entry & Logical) != 0, mode, (byte)entry, level);
    }

    /// <summary>Where local APICs are lent: their keeper learns whose ends to report.</summary>
    internal void ShowEnds()
    {
        lock (_lock)
            ShowEndsLocked();
    }

    private void ShowEndsLocked()
    {
        if (!_bus.IsLending)
            return;
        Span<MsiMessage?> inputs = new MsiMessage?[_redirection.Length];
        for (int i = 0; i < inputs.Length; i++)
            inputs[i] = (_redirection[i] & Masked) == 0 || (_redirection[i] & RemoteIrr) != 0 ? MessageOf(_redirection[i]).ToMsi() : null;
        _bus.ShowEnds(inputs);
    }

    private sealed class Input(IoApic owner, int index) : InterruptLine
    {
        public override void Set(bool level) => owner.SetInput(index, level);
    }
}
