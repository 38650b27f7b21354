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
    public bool IsBroadcast => Destination == (Wide ? 0xFFFF_FFFF : 0xFF);
}
