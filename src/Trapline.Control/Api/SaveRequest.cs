namespace Trapline.Control.Api;

public sealed record SaveRequest
{
    /// <summary>The file, by an absolute path of the host. What was there stays whole until the new file is.</summary>
    public required string Path { get; init; }
}

public sealed record MachineSaved
{
    public required string Path { get; init; }

    /// <summary>For how long the guest stood.</summary>
    public required double PauseSeconds { get; init; }
}
