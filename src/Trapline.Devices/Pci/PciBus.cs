using Trapline.Core;

namespace Trapline.Devices.Pci;

/// <summary>PCI bus 0: 32 devices of eight functions, reached by configuration mechanism 1 or the ECAM window.</summary>
/// <param name="space">Where base address registers map; null in tests that need none.</param>
/// <param name="routeInterrupt">The line for a device's pin (device 0 to 31, pin 1 to 4); the swizzle is the board's.</param>
public sealed class PciBus(IPciAddressSpace? space = null, Func<int, int, InterruptLine>? routeInterrupt = null)
{
    private readonly PciFunction?[] _functions = new PciFunction?[256];

    /// <summary>Puts a function into a slot. Board construction only.</summary>
    public void Add(int device, int function, PciFunction item)
    {
        int slot = (device << 3) | function;
        if (_functions[slot] is not null)
            throw new ArgumentException($"PCI slot {device}.{function} is taken");
        _functions[slot] = item;
        item.Attach(space, item.InterruptPin == 0 ? InterruptLine.Detached
            : routeInterrupt?.Invoke(device, item.InterruptPin) ?? InterruptLine.Detached);
        bool several = false;
        for (int f = 1; f < 8; f++)
            several |= _functions[(device << 3) | f] is not null;
        if (several)
            _functions[device << 3]?.MarkMultiFunction();
    }

    /// <summary>All functions, in the order of their slots.</summary>
    public IEnumerable<PciFunction> Functions => _functions.OfType<PciFunction>();

    /// <summary>All functions with their slots: device times eight plus function.</summary>
    public IEnumerable<(int Slot, PciFunction Function)> Slots
    {
        get
        {
            for (int slot = 0; slot < _functions.Length; slot++)
            {
                if (_functions[slot] is { } function)
                    yield return (slot, function);
            }
        }
    }

    public void Reset()
    {
        foreach (PciFunction? function in _functions)
            function?.Reset();
    }

    /// <summary>A configuration read; all ones where there is no function.</summary>
    public uint ReadConfig(int bus, int deviceFunction, int offset, int size) =>
        bus == 0 && _functions[deviceFunction & 0xFF] is { } function ? function.ReadConfig(offset, size) : uint.MaxValue;

    public void WriteConfig(int bus, int deviceFunction, int offset, int size, uint value)
    {
        if (bus == 0)
            _functions[deviceFunction & 0xFF]?.WriteConfig(offset, size, value);
    }
}

/// <summary>State of configuration mechanism 1.</summary>
[SavedState("pci-mechanism1", 1)]
public sealed record PciMechanism1State(uint Address);

/// <summary>Configuration mechanism 1: an address port (0xCF8) and a data port (0xCFC) (PCI Local Bus 3.0, 3.2.2.3.2).</summary>
public sealed class PciMechanism1 : ISavedDevice<PciMechanism1State>
{
    private readonly PciBus _bus;
    private volatile uint _address;

    public PciMechanism1(PciBus bus)
    {
        _bus = bus;
        AddressPorts = new Address(this);
        DataPorts = new Data(this);
    }

    /// <summary>Four ports; only double words at offset 0 are decoded, so that 0xCF9 can be the reset control.</summary>
    public IPortDevice AddressPorts { get; }

    /// <summary>Four ports.</summary>
    public IPortDevice DataPorts { get; }

    public void Reset() => _address = 0;

    public PciMechanism1State Save() => new(_address);

    public void Restore(PciMechanism1State state) => _address = state.Address;

    private sealed class Address(PciMechanism1 owner) : IPortDevice
    {
        public uint ReadPort(ushort offset, int size) => offset == 0 && size == 4 ? owner._address : uint.MaxValue;

        public void WritePort(ushort offset, int size, uint value)
        {
            if (offset == 0 && size == 4)
                owner._address = value & 0x80FF_FFFC;
        }
    }

    private sealed class Data(PciMechanism1 owner) : IPortDevice
    {
        public uint ReadPort(ushort offset, int size)
        {
            uint a = owner._address;
            if ((a & 0x8000_0000) == 0 || offset + size > 4)
                return uint.MaxValue;
            return owner._bus.ReadConfig((int)(a >> 16) & 0xFF, (int)(a >> 8) & 0xFF, (int)(a & 0xFC) + offset, size);
        }

        public void WritePort(ushort offset, int size, uint value)
        {
            uint a = owner._address;
            if ((a & 0x8000_0000) != 0 && offset + size <= 4)
                owner._bus.WriteConfig((int)(a >> 16) & 0xFF, (int)(a >> 8) & 0xFF, (int)(a & 0xFC) + offset, size, value);
        }
    }
}

/// <summary>The enhanced configuration window: 1 MiB for each bus, 4 KiB for each function (PCI Express 3.0, 7.2.2).</summary>
public sealed class PciEcam(PciBus bus, int buses) : IMmioDevice
{
    /// <summary>Size of the window.</summary>
    public ulong Length => (ulong)buses << 20;

    public ulong ReadMmio(ulong offset, int size)
    {
        int within = (int)offset & 0xFFF;
        if (offset >= Length || within + size > 0x1000)
            return ulong.MaxValue;
        int number = (int)(offset >> 20), slot = (int)(offset >> 12) & 0xFF;
        if (size == 8)
            return bus.ReadConfig(number, slot, within, 4) | ((ulong)bus.ReadConfig(number, slot, within + 4, 4) << 32);
        return bus.ReadConfig(number, slot, within, size);
    }

    public void WriteMmio(ulong offset, int size, ulong value)
    {
        int within = (int)offset & 0xFFF;
        if (offset >= Length || within + size > 0x1000)
            return;
        int number = (int)(offset >> 20), slot = (int)(offset >> 12) & 0xFF;
        bus.WriteConfig(number, slot, within, Math.Min(size, 4), (uint)value);
        if (size == 8)
            bus.WriteConfig(number, slot, within + 4, 4, (uint)(value >> 32));
    }
}
