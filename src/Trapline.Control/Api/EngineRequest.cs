namespace Trapline.Control.Api;

public sealed record EngineRequest
{
    /// <summary>As for <c>trapline run --engine</c>.</summary>
    public required string Engine { get; init; }
}

/// <summary>What runs the vCPUs now.</summary>
public sealed record EngineSwitched
{
    public required string Engine { get; init; }

    /// <summary>For how long the guest stood.</summary>
    public required double PauseSeconds { get; init; }
}
