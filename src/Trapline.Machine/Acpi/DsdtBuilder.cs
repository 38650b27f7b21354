using System.Globalization;

namespace Trapline.Machine.Acpi;

/// <summary>The DSDT: the devices of this board that no bus can enumerate, told in AML.</summary>
internal static class DsdtBuilder
{
    /// <summary>COM1 to COM4.</summary>
    public static readonly (ushort Port, int Irq)[] SerialPorts = [(0x3F8, 4), (0x2F8, 3), (0x3E8, 4), (0x2E8, 3)];

    private const ulong WideMemoryFirst = 0xC0_0000_0000, WideMemoryLast = 0xFF_FFFF_FFFF;

    public static byte[] Build(FirmwareFacts facts) => AcpiTable.Build("DSDT", 2,
    [
        .. Aml.Scope("\\_SB", [.. Processors(facts.Vcpus), Motherboard(), PciHost(facts), Hpet(), GenerationId(), .. VirtioDevices(facts.VirtioMmioDevices)]),
        .. Aml.Scope("\\_GPE", Aml.Method($"_E{MachineConstants.GenerationEvent:X2}", 0, Aml.Notify("\\_SB.VGID", 0x80))),
        // S5 alone: PM1a_CNT's SLP_TYP is 0 (the second is for PM1b, which is not there).
        .. Aml.Name("\\_S5", Aml.Package(Aml.Integer(0), Aml.Integer(0), Aml.Integer(0), Aml.Integer(0))),
    ]);

    private static IEnumerable<byte[]> Processors(int count)
    {
        for (int i = 0; i < count; i++)
        {
            yield return Aml.Device("C" + i.ToString("X3", CultureInfo.InvariantCulture),
                Aml.Name("_HID", Aml.Text("ACPI0007")),
                Aml.Name("_UID", Aml.Integer((ulong)i)));
        }
    }

    /// <summary>What must not be given to anyone else: the enhanced configuration space and the power management block.</summary>
    private static byte[] Motherboard() => Aml.Device("MBRD",
        Aml.Name("_HID", Aml.EisaId("PNP0C02")),
        Aml.Name("_UID", Aml.Integer(0)),
        Aml.Name("_CRS", Aml.Resources(
            AmlResource.FixedMemory((uint)MachineConstants.EcamBase, (uint)MachineConstants.EcamLength),
            AmlResource.Io(MachineConstants.PowerManagementBase, 0x10))));

    private static byte[] Hpet() => Aml.Device("HPET",
        Aml.Name("_HID", Aml.EisaId("PNP0103")),
        Aml.Name("_UID", Aml.Integer(0)),
        Aml.Name("_CRS", Aml.Resources(AmlResource.FixedMemory((uint)MachineConstants.HpetBase, 0x400))));

    /// <summary>Microsoft, "Virtual Machine Generation ID": guests know it by _CID; ADDR is its address, low half first.</summary>
    private static byte[] GenerationId() => Aml.Device("VGID",
        Aml.Name("_HID", Aml.Text("TRAP0001")),
        Aml.Name("_CID", Aml.Text("VM_Gen_Counter")),
        Aml.Name("_DDN", Aml.Text("VM_Gen_Counter")),
        Aml.Name("ADDR", Aml.Package(Aml.Integer((uint)MachineConstants.GenerationIdAddress), Aml.Integer(MachineConstants.GenerationIdAddress >> 32))));

    /// <summary>Virtio devices in memory; Linux knows them by this identifier. They share PCI's interrupts.</summary>
    private static IEnumerable<byte[]> VirtioDevices(int count)
    {
        for (int i = 0; i < count; i++)
        {
            yield return Aml.Device("VR" + i.ToString("X2", CultureInfo.InvariantCulture),
                Aml.Name("_HID", Aml.Text("LNRO0005")),
                Aml.Name("_UID", Aml.Integer((ulong)i)),
                Aml.Name("_CCA", Aml.Integer(1)),
                Aml.Name("_CRS", Aml.Resources(
                    AmlResource.FixedMemory((uint)MachineConstants.VirtioMmioAddress(i), 0x1000),
                    AmlResource.LevelInterrupt((uint)(MachineConstants.FirstPciInput + (i % MachineConstants.PciInputs))))));
        }
    }

    private static byte[] PciHost(FirmwareFacts facts) => Aml.Device("PCI0",
        Aml.Name("_HID", Aml.EisaId("PNP0A08")),
        Aml.Name("_CID", Aml.EisaId("PNP0A03")),
        Aml.Name("_UID", Aml.Integer(0)),
        Aml.Name("_BBN", Aml.Integer(0)),
        Aml.Name("_CRS", Aml.Resources(
            AmlResource.BusRange(0, MachineConstants.EcamLastBus),
            AmlResource.Io(0xCF8, 8),
            AmlResource.IoRange(0, 0xCF7),
            AmlResource.IoRange(0xD00, 0xFFFF),
            AmlResource.MemoryRange((uint)MachineConstants.PciMemoryBase, (uint)MachineConstants.PciMemoryEnd - 1),
            AmlResource.WideMemoryRange(WideMemoryFirst, WideMemoryLast))),
        // The operating system may control everything that PCI Express offers.
        Aml.Method("_OSC", 4, Aml.Return(Aml.Arg3)),
        Aml.Name("_PRT", InterruptRouting()),
        IsaBridge(facts));

    /// <summary>INTA to INTD of each slot go round the four I/O APIC inputs from 16.</summary>
    private static byte[] InterruptRouting()
    {
        List<byte[]> routes = [];
        for (uint slot = 0; slot < 32; slot++)
        {
            for (uint pin = 0; pin < 4; pin++)
                routes.Add(Aml.Package(Aml.Integer((slot << 16) | 0xFFFF), Aml.Integer(pin), Aml.Integer(0),
                    Aml.Integer((ulong)MachineConstants.PciInterruptInput((int)slot, (int)pin))));
        }
        return Aml.Package([.. routes]);
    }

    private static byte[] IsaBridge(FirmwareFacts facts)
    {
        List<byte[]> devices =
        [
            Aml.Name("_ADR", Aml.Integer(0x001F_0000)),
            Aml.Device("RTC",
                Aml.Name("_HID", Aml.EisaId("PNP0B00")),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Io(0x70, 8), AmlResource.Irq(8)))),
        ];
        for (int i = 0; i < SerialPorts.Length; i++)
        {
            if (i >= facts.Serial.Count || !facts.Serial[i])
                continue;
            int twin = i ^ 2; // COM1 shares its interrupt with COM3, COM2 with COM4
            bool shared = twin < facts.Serial.Count && facts.Serial[twin];
            devices.Add(Aml.Device($"COM{i + 1}",
                Aml.Name("_HID", Aml.EisaId("PNP0501")),
                Aml.Name("_UID", Aml.Integer((ulong)i + 1)),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Io(SerialPorts[i].Port, 8), AmlResource.Irq(SerialPorts[i].Irq, shared)))));
        }
        if (facts.PanicDevice)
        {
            devices.Add(Aml.Device("PEVT",
                Aml.Name("_HID", Aml.Text("QEMU0001")),
                Aml.Name("_STA", Aml.Integer(0xF)),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Io(MachineConstants.PanicPort, 1)))));
        }
        return Aml.Device("ISA", [.. devices]);
    }
}
