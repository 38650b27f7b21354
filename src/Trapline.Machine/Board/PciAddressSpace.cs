using Trapline.Core;
using Trapline.Devices.Pci;

namespace Trapline.Machine;

/// <summary>Puts PCI functions' base address ranges onto the buses as the guest programs them.</summary>
/// <remarks>A guest can program anything: a range over another device, or over RAM (which then wins), is left unmapped rather than refused.</remarks>
internal sealed class PciAddressSpace(PortBus ports, MmioBus memory, DoorbellMap doorbells) : IPciAddressSpace
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(ushort, IPortDevice), PortBinding> _ports = [];
    private readonly Dictionary<(ulong, IMmioDevice), MmioBinding> _memory = [];

    public void MapPorts(ushort port, int count, IPortDevice device)
    {
        lock (_lock)
        {
            for (int i = 0; i < count; i++)
            {
                if (port + i > ushort.MaxValue || ports.Find((ushort)(port + i)) is not null)
                    return;
            }
            _ports[(port, device)] = ports.Add("PCI", device, port, count);
            doorbells.Placed(isPort: true, port, device);
        }
    }

    public void UnmapPorts(ushort port, int count, IPortDevice device)
    {
        lock (_lock)
        {
            if (!_ports.Remove((port, device), out PortBinding? binding))
                return;
            doorbells.Gone(isPort: true, port, device);
            ports.Remove(binding);
        }
    }

    public void MapMemory(Gpa address, ulong length, IMmioDevice device)
    {
        lock (_lock)
        {
            if (memory.TryAdd("PCI", device, address.Value, length) is not { } binding)
                return;
            _memory[(address.Value, device)] = binding;
            doorbells.Placed(isPort: false, address.Value, device);
        }
    }

    public void UnmapMemory(Gpa address, ulong length, IMmioDevice device)
    {
        lock (_lock)
        {
            if (!_memory.Remove((address.Value, device), out MmioBinding? binding))
                return;
            doorbells.Gone(isPort: false, address.Value, device);
            memory.Remove(binding);
        }
    }
}
