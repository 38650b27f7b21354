using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>How an interrupt message is to be delivered (SDM vol. 3A, 11.6.1).</summary>
public enum DeliveryMode : byte
{
    Fixed = 0,
    LowestPriority = 1,
    Smi = 2,
    Reserved = 3,
    Nmi = 4,
    Init = 5,
    StartUp = 6,
    ExtInt = 7,
}

/// <summary>A message on the APIC bus: an IPI, an I/O APIC interrupt or an MSI.</summary>
/// <param name="Destination">APIC id or logical mask.</param>
/// <param name="Wide">The destination has 32 bits (sent in x2APIC mode), so that its broadcast is all 32 ones rather than 0xFF.</param>
/// <param name="Logical">The destination is a logical mask.</param>
/// <param name="LevelTriggered">The acceptor's EOI is to be broadcast to the I/O APICs.</param>
public readonly record struct ApicMessage(
    uint Destination, bool Wide, bool Logical, DeliveryMode Mode, byte Vector, bool LevelTriggered)
{
    /// <summary>The same as an MSI (SDM vol. 3A, 11.11): what the I/O APIC of a chipset writes. A wide destination continues in the upper half, as KVM has it.</summary>
    public MsiMessage ToMsi() => new(
        0xFEE0_0000 | (ulong)(Destination & 0xFF) << 12 | (Logical ? 4u : 0) | (ulong)(Destination & 0xFFFF_FF00) << 32,
        Vector | (uint)Mode << 8 | 1 << 14 | (LevelTriggered ? 1u << 15 : 0));

    public bool IsBroadcast => Destination == (Wide ? 0xFFFF_FFFF : 0xFF);
}
