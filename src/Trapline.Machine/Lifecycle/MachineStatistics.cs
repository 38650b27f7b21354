using Trapline.X86;

namespace Trapline.Machine;

/// <summary>What a machine has done so far; a snapshot that is taken at any time.</summary>
/// <param name="GuestTime">Time the guest has lived: host time less pauses.</param>
/// <param name="Vcpus">One entry for each vCPU.</param>
/// <param name="Exits">Exits by reason, most frequent first. Times are zero unless <see cref="DiagnosticsSpecification.TimeExits"/>.</param>
public sealed record MachineStatistics(
    TimeSpan GuestTime, IReadOnlyList<VcpuStatistics> Vcpus, IReadOnlyList<ExitStatistics> Exits)
{
    /// <summary>Null if the machine has no balloon.</summary>
    public BalloonStatistics? Balloon { get; init; }
}

/// <summary>What a guest does without, in bytes.</summary>
/// <param name="Target">What it was asked to.</param>
/// <param name="Actual">What it does.</param>
/// <param name="Released">Given back to the host since the machine began, in the balloon or reported as free; what the guest used again counts too.</param>
public readonly record struct BalloonStatistics(ulong Target, ulong Actual, long Released);

/// <param name="SeesEverything">The counters are of all that the guest did; else of what left it.</param>
/// <param name="Details">Counters of the engine's own kind.</param>
/// <param name="Times">Where the engine's time went; null unless <see cref="DiagnosticsSpecification.TimeExits"/> and the engine can tell.</param>
/// <param name="Halted">Time spent waiting in HLT.</param>
/// <param name="Halts">How often the vCPU went to wait.</param>
public sealed record VcpuStatistics(
    int Index, EngineCounters Counters, bool SeesEverything, IReadOnlyList<EngineDetail> Details, EngineTimes? Times, TimeSpan Halted, long Halts);

/// <summary>What kind of access left the engine.</summary>
public enum ExitKind
{
    PortIn,
    PortOut,
    MmioRead,
    MmioWrite,
    MsrRead,
    MsrWrite,
    TaskPriority,
    Hypercall,
}

/// <param name="Target">The device and the port, page or MSR, for people.</param>
public readonly record struct ExitStatistics(ExitKind Kind, string Target, long Count, TimeSpan Time);
