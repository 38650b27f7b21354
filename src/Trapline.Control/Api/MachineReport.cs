namespace Trapline.Control.Api;

/// <summary>What a machine has done since it was made or reset.</summary>
public sealed record MachineReport
{
    /// <summary>Time the guest has lived: host time less pauses.</summary>
    public required double GuestSeconds { get; init; }

    public required IReadOnlyList<VcpuReport> Vcpus { get; init; }

    /// <summary>Exits by reason, most frequent first.</summary>
    public required IReadOnlyList<ExitReport> Exits { get; init; }

    /// <summary>Null if the machine has no balloon.</summary>
    public BalloonReport? Balloon { get; init; }
}

public sealed record VcpuReport
{
    public required int Index { get; init; }

    /// <summary>Whether its engine sees every instruction, walk and fault. If not (KVM), instructions are those that left the guest.</summary>
    public required bool SeesEverything { get; init; }

    public required long Instructions { get; init; }
    public required long PageWalks { get; init; }
    public required long PageFaults { get; init; }
    public required long Exceptions { get; init; }
    public required long Interrupts { get; init; }

    /// <summary>How often it went to wait in HLT.</summary>
    public required long Halts { get; init; }

    public required double HaltedSeconds { get; init; }
}

public sealed record ExitReport
{
    public required string Kind { get; init; }

    /// <summary>The device and the port, page or MSR, for people.</summary>
    public required string Target { get; init; }

    public required long Count { get; init; }

    /// <summary>Zero unless the machine was started with --stats.</summary>
    public required double Seconds { get; init; }
}
