namespace Trapline.Control.Api;

/// <summary>Why a request was refused (RFC 9457, problem details).</summary>
public sealed record Problem
{
    public const string MediaType = "application/problem+json";

    public string Type { get; init; } = "about:blank";

    /// <summary>What the status code means.</summary>
    public required string Title { get; init; }

    public required int Status { get; init; }

    /// <summary>One line for people.</summary>
    public required string Detail { get; init; }
}
