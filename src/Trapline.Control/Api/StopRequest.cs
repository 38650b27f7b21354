namespace Trapline.Control.Api;

public sealed record StopRequest
{
    public const double DefaultPatience = 20, LongestPatience = 3600;

    /// <summary>At once, as pulling the plug does, without asking the guest.</summary>
    public bool Force { get; init; }

    /// <summary>How long the guest may take to switch itself off before it is stopped; 0 to 3600.</summary>
    public double PatienceSeconds { get; init; } = DefaultPatience;
}

/// <summary>How a machine ended.</summary>
public sealed record MachineEnded
{
    /// <summary>power-off, reboot, triple-fault, panic, halted, debug-exit, stopped, timed-out or failed.</summary>
    public required string End { get; init; }

    /// <summary>One line for people.</summary>
    public required string Reason { get; init; }
}
