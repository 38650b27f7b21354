using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>What differs between local APICs of different machines.</summary>
/// <param name="PhysicalAddressBits">MAXPHYADDR; higher bits of IA32_APIC_BASE are reserved.</param>
/// <param name="X2Apic">x2APIC mode can be enabled.</param>
/// <param name="TscDeadline">The timer has TSC-deadline mode.</param>
/// <param name="EoiBroadcastSuppression">SVR bit 12 exists.</param>
/// <param name="TimerHz">Frequency of the timer before its divider (CPUID leaf 0x15's crystal must say the same).</param>
public sealed record LocalApicOptions(
    int PhysicalAddressBits = 40, bool X2Apic = true, bool TscDeadline = true, bool EoiBroadcastSuppression = false,
    long TimerHz = 1_000_000_000);

/// <summary>State of a local APIC. Vectors 0 to 255 are bits of eight words, as in the registers.</summary>
[SavedState("local-apic", 1)]
public sealed record LocalApicState(
    ulong BaseMsr, byte XApicId, uint LogicalDestination, uint DestinationFormat, uint SpuriousVector, byte TaskPriority,
    uint[] InService, uint[] TriggerMode, uint[] Requests, uint ErrorStatus, uint ErrorPending, uint[] LocalVectors, ulong Icr,
    bool Lint0, bool Lint1, bool ExtIntLatched,
    uint InitialCount, uint DivideConfiguration, bool TimerRunning, long TimerDeadline, uint TimerHeldCount, ulong TscDeadline);
