namespace Trapline.Control.Api;

public sealed record BalloonRequest
{
    /// <summary>What the guest is to do without.</summary>
    public required ulong Bytes { get; init; }
}

/// <summary>What a guest does without, which goes back to the host.</summary>
public sealed record BalloonReport
{
    public required ulong TargetBytes { get; init; }

    /// <summary>What the guest says it does without now: it takes a while.</summary>
    public required ulong ActualBytes { get; init; }

    /// <summary>Given back to the host so far, in the balloon or reported as free.</summary>
    public required long ReleasedBytes { get; init; }
}
