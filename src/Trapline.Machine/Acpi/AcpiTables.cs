using System.Buffers.Binary;

namespace Trapline.Machine.Acpi;

/// <summary>The static tables, and where everything lies in guest memory.</summary>
internal static class AcpiTables
{
    public const ulong RootPointer = MachineConstants.FirmwareAreaStart;

    private const ulong FirstTable = RootPointer + 0x40;
    private const ulong TablesEnd = MachineConstants.GenerationIdAddress;
    private const byte SystemIo = 1, SystemMemory = 0;

    /// <summary>All tables with their addresses, the root pointer first.</summary>
    public static IReadOnlyList<(ulong Address, byte[] Table)> Build(FirmwareFacts facts)
    {
        List<(ulong Address, byte[] Table)> placed = [];
        ulong next = FirstTable;
        ulong Place(byte[] table)
        {
            ulong at = next;
            placed.Add((at, table));
            next = (at + (ulong)table.Length + 63) & ~63ul;
            return at;
        }
        ulong facs = Place(Facs());
        ulong dsdt = Place(DsdtBuilder.Build(facts));
        ulong[] tables = [Place(Fadt((uint)facs, dsdt)), Place(Madt(facts.Vcpus)), Place(Mcfg()), Place(Hpet())];
        ulong xsdt = Place(AcpiTable.Build("XSDT", 1, Aml.Concat([.. tables.Select(Aml.QuadWord)])));
        ulong rsdt = Place(AcpiTable.Build("RSDT", 1, Aml.Concat([.. tables.Select(t => Aml.DoubleWord((uint)t))])));
        if (next > TablesEnd)
            throw new InvalidOperationException("the ACPI tables outgrew their area");
        placed.Insert(0, (RootPointer, RootSystemPointer((uint)rsdt, xsdt)));
        return placed;
    }

    /// <summary>ACPI 6.5, 5.2.5.3.</summary>
    private static byte[] RootSystemPointer(uint rsdt, ulong xsdt)
    {
        byte[] p = [.. "RSD PTR "u8, 0, .. "TRAPLN"u8, 2, .. Aml.DoubleWord(rsdt), .. Aml.DoubleWord(36), .. Aml.QuadWord(xsdt), 0, 0, 0, 0];
        p[8] = AcpiTable.Checksum(p.AsSpan(0, 20));
        p[32] = AcpiTable.Checksum(p);
        return p;
    }

    /// <summary>ACPI 6.5, 5.2.10.</summary>
    private static byte[] Facs()
    {
        byte[] facs = new byte[64];
        "FACS"u8.CopyTo(facs);
        facs[4] = 64;
        facs[32] = 2;
        return facs;
    }

    /// <summary>ACPI 6.5, 5.2.9. SMI_CMD is 0: the machine is in ACPI mode from the start.</summary>
    private static byte[] Fadt(uint facs, ulong dsdt)
    {
        const ushort events = MachineConstants.PowerManagementBase, control = events + 4, timer = events + 8, general = events + 0xC;
        byte[] t = new byte[276];
        void Byte(int at, byte value) => t[at] = value;
        void Word(int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(t.AsSpan(at), value);
        void Double(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(t.AsSpan(at), value);
        void Quad(int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(t.AsSpan(at), value);
        void Address(int at, byte width, byte access, ulong address) => GenericAddress(SystemIo, width, access, address).CopyTo(t, at);

        Double(36, facs);
        Double(40, (uint)dsdt);
        Word(46, MachineConstants.SciInterrupt);
        Double(56, events);
        Double(64, control);
        Double(76, timer);
        Double(80, general);
        Byte(88, 4);
        Byte(89, 2);
        Byte(91, 4);
        Byte(92, 2); // GPE0: eight events
        Word(96, 0xFFFF); // no C2
        Word(98, 0xFFFF); // no C3
        Byte(108, 0x32);  // century
        Word(109, (1 << 0) | (1 << 2)); // IAPC_BOOT_ARCH: ISA devices, no VGA; no 8042 to probe for
        Double(112, (1 << 0) | (1 << 2) | (1 << 5) | (1 << 6) | (1 << 8) | (1 << 10)); // WBINVD, C1, no sleep button, RTC not in PM1, 32-bit timer, reset register
        Address(116, 8, 1, MachineConstants.ResetPort);
        Byte(128, MachineConstants.ResetValue);
        Byte(131, 5); // minor version
        Quad(140, dsdt);
        Address(148, 32, 2, events);
        Address(172, 16, 2, control);
        Address(208, 32, 3, timer);
        Address(220, 16, 1, general);
        return AcpiTable.Build("FACP", 6, t[36..]);
    }

    /// <summary>ACPI 6.5, 5.2.12.</summary>
    private static byte[] Madt(int vcpus)
    {
        List<byte> t = [.. Aml.DoubleWord((uint)MachineConstants.LocalApicBase), .. Aml.DoubleWord(1)]; // PCAT_COMPAT: a dual 8259 is there
        for (int i = 0; i < vcpus; i++)
        {
            if (i < 255)
                t.AddRange([0, 8, (byte)i, (byte)i, 1, 0, 0, 0]);
            else
                t.AddRange([9, 16, 0, 0, .. Aml.DoubleWord((uint)i), 1, 0, 0, 0, .. Aml.DoubleWord((uint)i)]);
        }
        t.AddRange([1, 12, MachineConstants.IoApicId, 0, .. Aml.DoubleWord((uint)MachineConstants.IoApicBase), 0, 0, 0, 0]);
        t.AddRange([2, 10, 0, 0, .. Aml.DoubleWord((uint)InterruptWiring.PinOf(0)), 0, 0]); // the timer's input
        t.AddRange([2, 10, 0, MachineConstants.SciInterrupt, .. Aml.DoubleWord(MachineConstants.SciInterrupt), 0x0D, 0]); // level, active high
        t.AddRange([4, 6, 0xFF, 0, 0, 1]); // NMI is every processor's LINT1
        return AcpiTable.Build("APIC", 5, [.. t]);
    }

    /// <summary>PCI Firmware Specification 3.3, 4.1.2.</summary>
    private static byte[] Mcfg() => AcpiTable.Build("MCFG", 1,
        [0, 0, 0, 0, 0, 0, 0, 0, .. Aml.QuadWord(MachineConstants.EcamBase), 0, 0, 0, MachineConstants.EcamLastBus, 0, 0, 0, 0]);

    /// <summary>IA-PC HPET specification 1.0a, 3.2.4.</summary>
    private static byte[] Hpet() => AcpiTable.Build("HPET", 1,
        [.. Aml.DoubleWord(0x8086_A201), .. GenericAddress(SystemMemory, 64, 0, MachineConstants.HpetBase), 0, .. Aml.Word(128), 0]);

    private static byte[] GenericAddress(byte space, byte width, byte access, ulong address) => [space, width, 0, access, .. Aml.QuadWord(address)];
}
