namespace Trapline.Machine.Acpi;

/// <summary>Resource descriptors for <see cref="Aml.Resources"/> (ACPI 6.5, 6.4).</summary>
internal static class AmlResource
{
    private const byte ResourceProducer = 0x0C; // minimum and maximum fixed, positive decode, produced for children

    /// <summary>I/O ports, 16-bit decode.</summary>
    public static byte[] Io(ushort port, byte length) => [0x47, 0x01, .. Aml.Word(port), .. Aml.Word(port), 0x01, length];

    /// <summary>An edge-triggered ISA interrupt.</summary>
    public static byte[] Irq(int irq, bool shared = false) => [0x23, .. Aml.Word((ushort)(1 << irq)), (byte)(shared ? 0x11 : 0x01)];

    /// <summary>An I/O APIC input as PCI uses it: level-triggered, active low, shared (ACPI 6.5, 6.4.3.6).</summary>
    public static byte[] LevelInterrupt(uint input) => [0x89, 0x06, 0x00, 0x0D, 0x01, .. Aml.DoubleWord(input)];

    public static byte[] FixedMemory(uint address, uint length) => [0x86, 0x09, 0x00, 0x01, .. Aml.DoubleWord(address), .. Aml.DoubleWord(length)];

    public static byte[] BusRange(byte first, byte last) => Address16(2, 0, first, last);

    public static byte[] IoRange(ushort first, ushort last) => Address16(1, 3, first, last);

    /// <summary>Memory for PCI functions, below 4 GiB; cacheable and prefetchable as asked.</summary>
    public static byte[] MemoryRange(uint first, uint last) =>
        [0x87, 0x17, 0x00, 0, ResourceProducer, 0x01, .. Aml.DoubleWord(0), .. Aml.DoubleWord(first), .. Aml.DoubleWord(last), .. Aml.DoubleWord(0),
            .. Aml.DoubleWord(last - first + 1)];

    public static byte[] WideMemoryRange(ulong first, ulong last) =>
        [0x8A, 0x2B, 0x00, 0, ResourceProducer, 0x01, .. Aml.QuadWord(0), .. Aml.QuadWord(first), .. Aml.QuadWord(last), .. Aml.QuadWord(0),
            .. Aml.QuadWord(last - first + 1)];

    private static byte[] Address16(byte type, byte typeFlags, ushort first, ushort last) =>
        [0x88, 0x0D, 0x00, type, ResourceProducer, typeFlags, .. Aml.Word(0), .. Aml.Word(first), .. Aml.Word(last), .. Aml.Word(0),
            .. Aml.Word((ushort)(last - first + 1))];
}
