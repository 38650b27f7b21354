using Trapline.Core;
using Trapline.Machine.Acpi;
using Trapline.Memory;

namespace Trapline.Machine.Firmware;

/// <summary>What firmware does before a kernel runs: tables into memory, chips into the state that kernels expect.</summary>
internal sealed class PowerOn(GuestMemory memory, PortBus ports, FirmwareFacts facts)
{
    public void WriteTables()
    {
        foreach ((ulong address, byte[] table) in AcpiTables.Build(facts))
            memory.TryLoad(new Gpa(address), table);
        foreach ((ulong address, byte[] table) in MpTable.Build(facts.Vcpus))
            memory.TryLoad(new Gpa(address), table);
    }

    /// <summary>The 8259 pair at vectors 8 and 70h with everything masked, the 8254 ticking 18.2 times a second, the local APIC in virtual wire mode.</summary>
    public void ProgramChips(IMmioDevice localApic)
    {
        ReadOnlySpan<(ushort Port, byte Value)> writes =
        [
            (0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01), (0x21, 0xFF),
            (0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x01), (0xA1, 0xFF),
            (0x4D0, 0x00), (0x4D1, 1 << (MachineConstants.SciInterrupt - 8)), // the SCI is level-triggered
            (0x43, 0x36), (0x40, 0x00), (0x40, 0x00),
        ];
        foreach ((ushort port, byte value) in writes)
            ports.Write(0, port, 1, value, out _, out _);
        // MultiProcessor Specification 1.4, 3.6.2.2: LINT0 takes the 8259 pair's interrupt, LINT1 is NMI.
        localApic.WriteMmio(0xF0, 4, 0x1FF);
        localApic.WriteMmio(0x350, 4, 0x700);
        localApic.WriteMmio(0x360, 4, 0x400);
    }
}
