using Trapline.Machine.Acpi;

namespace Trapline.Machine.Firmware;

/// <summary>Intel's MultiProcessor Specification 1.4 tables, for systems older than ACPI: processors, buses, the I/O APIC and its inputs.</summary>
internal static class MpTable
{
    /// <summary>The floating pointer must lie on a 16-byte boundary of 0xF0000 to 0xFFFFF (4.1).</summary>
    public const ulong Pointer = 0xF_0000;

    private const ulong Table = Pointer + 16;
    private const byte IsaBus = 1, PciBus = 0;
    private const byte Interrupt = 0, Nmi = 1, ExtInt = 3;
    private const ushort ActiveHighEdge = 0x05, ActiveLowLevel = 0x0F, ActiveHighLevel = 0x0D;

    public static IReadOnlyList<(ulong Address, byte[] Bytes)> Build(int vcpus)
    {
        byte ioApic = (byte)vcpus; // ids of I/O APICs and processors are one space here (3.6.6)
        List<byte[]> entries = [];
        for (int i = 0; i < vcpus; i++)
            entries.Add([0, (byte)i, 0x14, (byte)(i == 0 ? 3 : 1), .. Aml.DoubleWord(0x0006_0600), .. Aml.DoubleWord(0x0000_0201), .. new byte[8]]);
        entries.Add([1, PciBus, .. "PCI   "u8]);
        entries.Add([1, IsaBus, .. "ISA   "u8]);
        entries.Add([2, ioApic, 0x11, 1, .. Aml.DoubleWord((uint)MachineConstants.IoApicBase)]);
        for (int irq = 0; irq < 16; irq++)
        {
            if (irq != 2)
                entries.Add(Route(Interrupt, irq == MachineConstants.SciInterrupt ? ActiveHighLevel : ActiveHighEdge, IsaBus, (byte)irq, ioApic, (byte)InterruptWiring.PinOf(irq)));
        }
        for (int slot = 0; slot < 32; slot++)
        {
            for (int pin = 0; pin < 4; pin++)
                entries.Add(Route(Interrupt, ActiveLowLevel, PciBus, (byte)((slot << 2) | pin), ioApic, (byte)MachineConstants.PciInterruptInput(slot, pin)));
        }
        entries.Add([4, ExtInt, .. Aml.Word(0), IsaBus, 0, 0, 0]);
        entries.Add([4, Nmi, .. Aml.Word(0), IsaBus, 0, 0xFF, 1]);

        byte[] body = Aml.Concat([.. entries]);
        byte[] table =
        [
            .. "PCMP"u8, .. Aml.Word((ushort)(44 + body.Length)), 4, 0, .. "TRAPLINE"u8, .. "PC          "u8,
            .. Aml.DoubleWord(0), .. Aml.Word(0), .. Aml.Word((ushort)entries.Count), .. Aml.DoubleWord((uint)MachineConstants.LocalApicBase),
            .. Aml.Word(0), 0, 0, .. body,
        ];
        table[7] = AcpiTable.Checksum(table);
        byte[] pointer = [.. "_MP_"u8, .. Aml.DoubleWord((uint)Table), 1, 4, 0, 0, 0, 0, 0, 0];
        pointer[10] = AcpiTable.Checksum(pointer);
        return [(Pointer, pointer), (Table, table)];
    }

    private static byte[] Route(byte type, ushort flags, byte bus, byte source, byte ioApic, byte pin) =>
        [3, type, .. Aml.Word(flags), bus, source, ioApic, pin];
}
