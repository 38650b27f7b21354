namespace Trapline.Core;

/// <summary>A local APIC whose registers an engine can keep in the machine's place, because the host has a faster one.</summary>
public interface ILentApic
{
    /// <summary>From now on the keeper has the registers, and messages go to it. The vCPU stands, or has not started.</summary>
    void Lend(IApicKeeper keeper);

    /// <summary>The registers come back. The vCPU stands. Does nothing if they are here.</summary>
    void TakeBack();

    /// <summary>The guest ended an interrupt whose end others wait for. From the vCPU's thread.</summary>
    void EndOfInterrupt(byte vector);
}

/// <summary>Who keeps a local APIC that the machine has lent.</summary>
public interface IApicKeeper
{
    /// <summary>The registers as they are. The vCPU stands.</summary>
    ApicRegisters Read();

    /// <summary>Replaces the registers. The vCPU stands.</summary>
    void Write(ApicRegisters registers);

    /// <summary>Sends a message to those of the machine's local APICs that are lent and that it names. From any thread.</summary>
    /// <returns>False if none took it.</returns>
    bool Deliver(MsiMessage message);

    /// <summary>Names the interrupts whose ends the machine must hear of: one for each input of its I/O APIC, null where there is none.</summary>
    void WatchEnds(ReadOnlySpan<MsiMessage?> inputs);
}

/// <summary>The registers of a local APIC.</summary>
/// <param name="Page">64 words: word n is the register at offset 16n of the register page (SDM Vol. 3A, table 11-1). In x2APIC mode the id has all its bits.</param>
/// <param name="Base">IA32_APIC_BASE.</param>
/// <param name="TscDeadline">IA32_TSC_DEADLINE by the machine's counter; 0 if none is set.</param>
public sealed record ApicRegisters(uint[] Page, ulong Base, ulong TscDeadline)
{
    public const int Words = 64;
}
