using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Devices.Pci;

/// <summary>A PCI function: 256 bytes of configuration space with write masks, base address registers, capabilities and an INTx pin
/// (PCI Local Bus 3.0, chapter 6). Devices build on it by adding registers before they are put on a bus.</summary>
/// <remarks>Lock order: this, then the address space or the interrupt line. <see cref="OnConfigWritten"/> runs with the lock held.</remarks>
public class PciFunction : ISavedDevice<PciFunctionState>
{
    private const int Command = 4, Status = 6, HeaderType = 0x0E, Bar0 = 0x10, CapabilityPointer = 0x34, InterruptPinRegister = 0x3D;
    private const int CommandPorts = 1, CommandMemory = 2, CommandMaster = 4, CommandNoInterrupt = 0x400;
    private const byte StatusInterrupt = 8, StatusCapabilities = 0x10;

    private readonly byte[] _config = new byte[256];
    private readonly byte[] _writable = new byte[256];
    private readonly byte[] _initial = new byte[256];
    private readonly List<PciBar> _bars = [];
    private IPciAddressSpace? _space;
    private InterruptLine _line = InterruptLine.Detached;
    private int _nextCapability = 0x40;
    private int _lastCapability = CapabilityPointer;
    private bool _asserted, _onBus;

    /// <param name="pin">INTA to INTD as 1 to 4, or 0 for none.</param>
    public PciFunction(PciIdentity identity, int pin = 0)
    {
        SetConfig16(0, identity.Vendor);
        SetConfig16(2, identity.Device);
        _config[8] = identity.Revision;
        _config[9] = (byte)identity.ClassCode;
        SetConfig16(0x0A, (ushort)(identity.ClassCode >> 8));
        SetConfig16(0x2C, identity.SubsystemVendor);
        SetConfig16(0x2E, identity.SubsystemDevice);
        _config[InterruptPinRegister] = (byte)pin;
        SetWritable(Command, 0x07);
        SetWritable(Command + 1, 0x05);
        SetWritable(0x0C, 0xFF); // cache line size
        SetWritable(0x0D, 0xFF); // latency timer
        SetWritable(0x3C, 0xFF); // interrupt line
    }

    /// <summary>Guards the configuration space and what derived devices keep with it.</summary>
    protected Lock ConfigLock { get; } = new();

    internal Lock CapabilityLock => ConfigLock;

    /// <summary>INTA to INTD as 1 to 4, or 0 for none.</summary>
    public int InterruptPin => _config[InterruptPinRegister];

    /// <summary>The guest lets this function read and write memory.</summary>
    public bool IsBusMaster => (_config[Command] & CommandMaster) != 0;

    /// <summary>Sets the level of the INTx pin.</summary>
    public void SetInterrupt(bool level)
    {
        lock (ConfigLock)
        {
            _asserted = level;
            DriveInterrupt();
        }
    }

    /// <summary>Adds a memory register. <paramref name="size"/> is a power of two, at least 16; a 64-bit one takes two registers.</summary>
    public void AddMemoryBar(int index, ulong size, IMmioDevice device, bool is64Bit = false, bool prefetchable = false)
    {
        AddBar(new PciBar(index, size, is64Bit, null, device), size, (is64Bit ? 4 : 0) | (prefetchable ? 8 : 0));
        if (is64Bit)
            SetWritable32(Bar0 + (index * 4) + 4, (uint)(~(size - 1) >> 32));
    }

    /// <summary>Adds a port register. <paramref name="count"/> is a power of two from 4 to 256.</summary>
    public void AddPortBar(int index, int count, IPortDevice device) =>
        AddBar(new PciBar(index, (ulong)count, is64Bit: false, device, null), (ulong)count, 1);

    private void AddBar(PciBar bar, ulong size, int flags)
    {
        if (!System.Numerics.BitOperations.IsPow2(size))
            throw new ArgumentException("a base address register maps a power of two");
        _bars.Add(bar);
        int offset = Bar0 + (bar.Index * 4);
        _config[offset] = (byte)flags;
        SetWritable32(offset, (uint)~(size - 1));
    }

    /// <summary>Adds a capability of <paramref name="length"/> bytes, header included; returns its offset.</summary>
    public int AddCapability(byte id, int length)
    {
        int offset = _nextCapability;
        _nextCapability += (length + 3) & ~3;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_nextCapability, 256);
        _config[offset] = id;
        _config[_lastCapability] = (byte)offset;
        _lastCapability = offset + 1;
        _config[Status] |= StatusCapabilities;
        return offset;
    }

    /// <summary>Reads one byte of configuration space as the device itself.</summary>
    public byte Config8(int offset) => _config[offset];

    public ushort Config16(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(_config.AsSpan(offset));

    public uint Config32(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_config.AsSpan(offset));

    /// <summary>Writes configuration space as the device itself, read-only bits too.</summary>
    public void SetConfig8(int offset, byte value) => _config[offset] = value;

    public void SetConfig16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_config.AsSpan(offset), value);

    public void SetConfig32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_config.AsSpan(offset), value);

    /// <summary>Says which bits of a byte the guest may write.</summary>
    public void SetWritable(int offset, byte mask) => _writable[offset] = mask;

    public void SetWritable32(int offset, uint mask) => BinaryPrimitives.WriteUInt32LittleEndian(_writable.AsSpan(offset), mask);

    /// <summary>A guest's configuration read of 1, 2 or 4 bytes; beyond 256 bytes there is nothing (zero).</summary>
    public uint ReadConfig(int offset, int size)
    {
        lock (ConfigLock)
        {
            OnConfigRead(offset, size);
            uint value = 0;
            for (int i = 0; i < size; i++)
                value |= (offset + i < 256 ? (uint)_config[offset + i] : 0u) << (i * 8);
            return value;
        }
    }

    /// <summary>A guest's configuration write of 1, 2 or 4 bytes.</summary>
    public void WriteConfig(int offset, int size, uint value)
    {
        lock (ConfigLock)
        {
            for (int i = 0; i < size && offset + i < 256; i++)
            {
                byte mask = _writable[offset + i];
                _config[offset + i] = (byte)((_config[offset + i] & ~mask) | ((byte)(value >> (i * 8)) & mask));
            }
            if (offset < 0x28 && offset + size > Command)
            {
                UpdateBars();
                DriveInterrupt();
            }
            OnConfigWritten(offset, size);
            ConfigWritten?.Invoke(offset, size);
        }
    }

    /// <summary>For capability helpers: runs after each guest write, with the lock held.</summary>
    internal Action<int, int>? ConfigWritten { get; set; }

    /// <summary>Runs before a guest's read, with the lock held: bring computed registers up to date.</summary>
    protected virtual void OnConfigRead(int offset, int size) { }

    /// <summary>Runs after a guest's write took effect, with the lock held.</summary>
    protected virtual void OnConfigWritten(int offset, int size) { }

    internal void Attach(IPciAddressSpace? space, InterruptLine line)
    {
        lock (ConfigLock)
        {
            (_space, _line, _onBus) = (space, line, true);
            _config.CopyTo(_initial, 0);
            UpdateBars();
        }
    }

    internal void MarkMultiFunction()
    {
        _config[HeaderType] |= 0x80;
        _initial[HeaderType] |= 0x80;
    }

    /// <summary>Configuration space as it was when the function was put on its bus: nothing is decoded.</summary>
    public virtual void Reset()
    {
        lock (ConfigLock)
        {
            if (!_onBus)
                return;
            _initial.CopyTo(_config, 0);
            _asserted = false;
            UpdateBars();
            DriveInterrupt();
        }
    }

    private void UpdateBars()
    {
        foreach (PciBar bar in _bars)
        {
            int offset = Bar0 + (bar.Index * 4);
            ulong raw = Config32(offset);
            if ((raw & 7) == 4)
                raw |= (ulong)Config32(offset + 4) << 32;
            bar.Update(_space, raw, (_config[Command] & (bar.IsPorts ? CommandPorts : CommandMemory)) != 0);
        }
    }

    private void DriveInterrupt()
    {
        _config[Status] = (byte)(_asserted ? _config[Status] | StatusInterrupt : _config[Status] & ~StatusInterrupt);
        _line.Set(_asserted && (Config16(Command) & CommandNoInterrupt) == 0);
    }

    public PciFunctionState Save()
    {
        lock (ConfigLock)
            return new PciFunctionState((byte[])_config.Clone(), _asserted);
    }

    /// <summary>Restores the registers and maps the function where it was.</summary>
    public void Restore(PciFunctionState state)
    {
        lock (ConfigLock)
        {
            Array.Copy(state.Config, _config, Math.Min(state.Config.Length, 256));
            _asserted = state.InterruptAsserted;
            UpdateBars();
            DriveInterrupt();
        }
    }
}
