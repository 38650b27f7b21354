namespace Trapline.Machine;

/// <summary>Where things are in this board's address spaces and how fast its clocks run: the one place that says so.</summary>
public static class MachineConstants
{
    /// <summary>Raised when a saved machine could not go on in this one: chips, wiring or addresses changed.</summary>
    public const int Version = 6;

    /// <summary>Time-stamp counter and local APIC timer. One tick is one nanosecond of guest time. CPUID leaves 0x15 and 0x16 must agree.</summary>
    public const long TscHertz = 1_000_000_000;

    /// <summary>RAM below 4 GiB ends here at the latest; the PCI hole follows.</summary>
    public const ulong LowMemoryLimit = 0xC000_0000;
    public const ulong HighMemoryStart = 0x1_0000_0000;

    /// <summary>Enhanced configuration space: 256 buses of 1 MiB.</summary>
    public const ulong EcamBase = 0xE000_0000;
    public const ulong EcamLength = 0x1000_0000;
    public const int EcamLastBus = 0xFF;

    /// <summary>Memory that PCI functions may be placed in.</summary>
    public const ulong PciMemoryBase = LowMemoryLimit;
    public const ulong PciMemoryEnd = EcamBase;

    public const ulong IoApicBase = 0xFEC0_0000;
    public const ulong HpetBase = 0xFED0_0000;
    public const ulong LocalApicBase = 0xFEE0_0000;

    public const ulong VgaHoleStart = 0xA_0000;
    public const ulong VgaHoleEnd = 0xC_0000;
    public const ulong FirmwareAreaStart = 0xE_0000;
    public const ulong FirmwareAreaEnd = 0x10_0000;

    public const int MaximumVcpus = 255;
    public const int IoApicPins = 24;
    public const int IoApicId = 0;
    public const ulong MinimumMemory = 1ul << 20;
    public const ulong MaximumMemory = 1ul << 39;

    /// <summary>ACPI power management block and its interrupt.</summary>
    public const ushort PowerManagementBase = 0x600;
    public const int SciInterrupt = 9;

    /// <summary>The general-purpose event by which the guest is told of a new generation identifier, and where that lies: behind the ACPI tables.</summary>
    public const int GenerationEvent = 5;
    public const ulong GenerationIdAddress = 0xE_FF00;
    public const ushort PanicPort = 0x505;
    public const ushort FirmwareConfigurationPort = 0x510;
    public const ushort DebugConsolePort = 0xE9;
    public const ushort DebugExitPort = 0xF4;
    public const ushort ResetPort = 0xCF9;
    public const byte ResetValue = 6;

    /// <summary>SLP_TYP of S5, as the DSDT says.</summary>
    public const int PowerOffSleepType = 0;

    /// <summary>Registers of a virtio device that is on no bus: a page each.</summary>
    public static ulong VirtioMmioAddress(int device) => 0xFEB0_0000 + (0x1000ul * (ulong)device);

    /// <summary>First I/O APIC input of PCI's INTx, and how many there are.</summary>
    public const int FirstPciInput = 16, PciInputs = 4;

    /// <summary>The I/O APIC input of pin INTA (0) to INTD (3) of a slot on bus 0; the DSDT's _PRT says the same.</summary>
    public static int PciInterruptInput(int slot, int pin) => FirstPciInput + ((slot + pin) % PciInputs);
}
