namespace Trapline.Devices.Pci;

/// <summary>The host bridge, device 0: no registers of its own. It calls itself Red Hat's generic PCIe host bridge (1B36:0008), for which
/// guests have no quirks.</summary>
public sealed class HostBridge(PciIdentity? identity = null) : PciFunction(identity ?? new PciIdentity(0x1B36, 0x0008, 0x060000));

/// <summary>The ISA bridge, so that guests find the legacy ports behind a function. It calls itself a PIIX3 (8086:7000).</summary>
public sealed class IsaBridge(PciIdentity? identity = null) : PciFunction(identity ?? new PciIdentity(0x8086, 0x7000, 0x060100));
