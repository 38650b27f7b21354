using Trapline.Core;

namespace Trapline.Devices.Pci;

/// <summary>Who a function says it is.</summary>
/// <param name="ClassCode">Class, subclass and programming interface: 0xCCSSPP.</param>
public sealed record PciIdentity(
    ushort Vendor, ushort Device, uint ClassCode, byte Revision = 0, ushort SubsystemVendor = 0, ushort SubsystemDevice = 0);

/// <summary>The board's side of base address registers: where functions appear and disappear as the guest programs them.</summary>
/// <remarks>Called on a vCPU's thread with the function's lock held: an implementation must not call the function.</remarks>
public interface IPciAddressSpace
{
    void MapPorts(ushort port, int count, IPortDevice device);
    void UnmapPorts(ushort port, int count, IPortDevice device);
    void MapMemory(Gpa address, ulong length, IMmioDevice device);
    void UnmapMemory(Gpa address, ulong length, IMmioDevice device);
}

/// <summary>State of the standard part of a function: its configuration space.</summary>
[SavedState("pci-function", 1)]
public sealed record PciFunctionState(byte[] Config, bool InterruptAsserted);
