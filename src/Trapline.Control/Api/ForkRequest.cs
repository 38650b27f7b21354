namespace Trapline.Control.Api;

public sealed record ForkRequest
{
    public const int MostAtOnce = 256;

    /// <summary>How many clones; 1 to <see cref="MostAtOnce"/>.</summary>
    public int Count { get; init; } = 1;

    /// <summary>They are called PREFIX-1, PREFIX-2 and so on, names in use left out; null for the machine's own name.</summary>
    public string? Prefix { get; init; }

    /// <summary>Ports of the host that lead to the first clone, [HOST:]PORT:GUESTPORT[/udp]; the next ports lead to the next clones.</summary>
    public IReadOnlyList<string> Publish { get; init; } = [];
}
