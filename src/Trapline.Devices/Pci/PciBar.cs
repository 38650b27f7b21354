using Trapline.Core;

namespace Trapline.Devices.Pci;

/// <summary>One base address register: what it maps and where it is mapped now (PCI Local Bus 3.0, 6.2.5).</summary>
internal sealed class PciBar(int index, ulong size, bool is64Bit, IPortDevice? ports, IMmioDevice? memory)
{
    private ulong _mapped;
    private bool _isMapped;

    public int Index => index;
    public bool IsPorts => ports is not null;

    /// <summary>Moves the mapping to where the registers say; an address of zero or the sizing pattern maps nothing.</summary>
    public void Update(IPciAddressSpace? space, ulong raw, bool decode)
    {
        ulong address = raw & ~(size - 1);
        ulong sizing = (is64Bit ? ulong.MaxValue : 0xFFFF_FFFF) & ~(size - 1);
        bool wanted = decode && space is not null && address != 0 && address != sizing && (!IsPorts || address <= 0xFFFF);
        if (_isMapped && (!wanted || address != _mapped))
        {
            _isMapped = false;
            if (ports is not null)
                space!.UnmapPorts((ushort)_mapped, (int)size, ports);
            else
                space!.UnmapMemory(new Gpa(_mapped), size, memory!);
        }
        if (!wanted || _isMapped)
            return;
        (_isMapped, _mapped) = (true, address);
        if (ports is not null)
            space!.MapPorts((ushort)address, (int)size, ports);
        else
            space!.MapMemory(new Gpa(address), size, memory!);
    }
}
