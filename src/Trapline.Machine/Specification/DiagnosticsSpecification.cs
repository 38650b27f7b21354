namespace Trapline.Machine;

/// <summary>What is measured and traced. Nothing of it is paid for when off.</summary>
public sealed record DiagnosticsSpecification
{
    /// <summary>Take the time of every exit and of the engine's parts, for <see cref="MachineStatistics"/>. Counts are always kept.</summary>
    public bool TimeExits { get; init; }

    public TraceKinds Trace { get; init; }

    /// <summary>Where trace lines go; the caller owns it. Written under a lock, one line at a time.</summary>
    public TextWriter? TraceWriter { get; init; }

    /// <summary>Guest addresses: whenever the translator translates a block with one of them in it, the block and its translation are written.</summary>
    public IReadOnlyList<ulong> DumpBlocks { get; init; } = [];

    /// <summary>Gets a line for each translation, as Linux perf reads them; the caller owns it.</summary>
    public TextWriter? PerfMap { get; init; }
}

/// <summary>What <c>--trace</c> can show.</summary>
[Flags]
public enum TraceKinds
{
    None = 0,
    /// <summary>Port, MMIO and MSR accesses that left the engine.</summary>
    Exits = 1,
    /// <summary>Vectors accepted by a vCPU, NMI, INIT, SIPI.</summary>
    Interrupts = 2,
    /// <summary>Start, pause, reset, end, halts.</summary>
    Lifecycle = 4,
    /// <summary>Accesses that no device decodes and MSRs that nobody has.</summary>
    Unclaimed = 8,
    /// <summary>Exceptions that a vCPU delivers, with error code and address.</summary>
    Exceptions = 16,
    /// <summary>Page walks: guest-virtual to guest-physical to host address, entry by entry.</summary>
    Walks = 32,
    /// <summary>Translations made, dropped and flushed.</summary>
    Translate = 64,
    All = Exits | Interrupts | Lifecycle | Unclaimed | Exceptions | Walks | Translate,
}
