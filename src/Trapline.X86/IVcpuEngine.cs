namespace Trapline.X86;

/// <summary>Why <see cref="IVcpuEngine.Run"/> returned. Guest I/O is not here: it goes through the I/O seam.</summary>
public enum StopReason
{
    /// <summary><see cref="IVcpuEngine.Kick"/> was called.</summary>
    Kicked,
    /// <summary>HLT or MWAIT: nothing to do until an event arrives. Running again without one stops again at once.</summary>
    Halted,
    /// <summary>The guest waits in a loop (PAUSE again and again). Only if <see cref="IVcpuEngine.ReportsSpinning"/>.</summary>
    Spinning,
    /// <summary>An application processor that has not had its SIPI.</summary>
    WaitingForStartUp,
    /// <summary>Triple fault (SDM Vol. 3, 6.15): the processor shuts down.</summary>
    TripleFault,
    /// <summary>A debugger's breakpoint or single step, when the engine was asked to stop there.</summary>
    Debug,
    /// <summary>The engine cannot go on: <see cref="IVcpuEngine.Failure"/> says why.</summary>
    Failed,
}

/// <summary>Counters that every engine keeps for one vCPU.</summary>
public record struct EngineCounters(
    long Instructions,
    long TlbHitsSecondLevel,
    long PageWalks,
    long PageFaults,
    long Exceptions,
    long Interrupts,
    long BlocksDecoded,
    long CodeInvalidations);

/// <summary>A counter of one engine's own kind, for people.</summary>
/// <param name="Group">What it belongs to; counters of a group follow each other.</param>
public readonly record struct EngineDetail(string Group, string Name, long Value);

/// <summary>Where an engine's time went, if it was told to take it. What is left of its running time is the interpreter's and the machine's.</summary>
/// <param name="Translated">In translated code.</param>
/// <param name="Translation">Translating.</param>
/// <param name="Mmu">Filling the soft TLB for translated code: looking up, walking page tables.</param>
public readonly record struct EngineTimes(TimeSpan Translated, TimeSpan Translation, TimeSpan Mmu);

/// <summary>Something that runs one vCPU: interpreter, translator or KVM. The machine behind the seam never knows which.</summary>
/// <remarks>All members but <see cref="Kick"/> and the <see cref="Core.IVcpuSignals"/> ones belong to the vCPU's own thread.</remarks>
public interface IVcpuEngine : Core.IVcpuSignals, IDisposable
{
    /// <summary>Runs guest code until something that only the machine can decide.</summary>
    StopReason Run();

    /// <summary>Makes <see cref="Run"/> return soon, from any thread; if it is not running, the next call returns at once.</summary>
    void Kick();

    /// <summary>True when a halted vCPU has a reason to run again.</summary>
    bool HasWork { get; }

    /// <summary>The whole architectural state, between two instructions.</summary>
    VcpuState Export();

    /// <summary>Replaces the whole state.</summary>
    /// <exception cref="ArgumentException">The state is impossible for this CPU model; the message says what.</exception>
    void Import(VcpuState state);

    /// <summary>The engine runs the vCPU from here on, and may keep parts of the machine with it. The vCPU stands, or has not started.</summary>
    void TakeOver() { }

    /// <summary>Another engine, or nobody, runs the vCPU from here on: what was kept comes back. The state can still be exported.</summary>
    void GiveBack() { }

    /// <summary>A halted vCPU sleeps inside <see cref="Run"/>, which does not return <see cref="StopReason.Halted"/>.</summary>
    bool HaltsInside => false;

    /// <summary>Power-on or INIT state (SDM Vol. 3, table 10-1).</summary>
    void Reset();

    /// <summary>Loops that only wait are a reason to stop. An engine without means to see them ignores this.</summary>
    bool ReportsSpinning
    {
        get => false;
        set { }
    }

    EngineCounters Counters { get; }

    /// <summary>The counters are of all that happens in the guest; else, as far as they are known, of what left it.</summary>
    bool SeesEverything => true;

    /// <summary>Why something slower than the engine that was asked for runs this vCPU; null if nothing does.</summary>
    string? Shortcoming => null;

    /// <summary>Why <see cref="Run"/> returned <see cref="StopReason.Failed"/>, in one line; null if it did not.</summary>
    string? Failure => null;

    /// <summary>Counters of this engine's own kind, for people to read.</summary>
    IReadOnlyList<EngineDetail> Details => [];

    /// <summary>Null unless times are taken.</summary>
    EngineTimes? Times => null;
}
