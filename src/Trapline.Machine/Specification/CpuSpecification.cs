namespace Trapline.Machine;

/// <summary>How many vCPUs, what they claim to be, and what runs them.</summary>
public sealed record CpuSpecification
{
    public const int MaximumCount = 64;

    /// <summary>1 to <see cref="MaximumCount"/>.</summary>
    public int Count { get; init; } = 1;

    /// <summary>A named model; see <see cref="X86.CpuModel"/>. Null takes the default.</summary>
    public string? Model { get; init; }

    /// <summary>Features added to or taken from the model, by their /proc/cpuinfo names, in order.</summary>
    public IReadOnlyList<FeatureChange> Changes { get; init; } = [];

    public const ulong DefaultCodeCache = 64 << 20, SmallestCodeCache = 1 << 20, LargestCodeCache = 1 << 30;

    /// <summary>Most bytes of host code that the translator keeps for a vCPU; when full, it begins anew. Committed as it is used.</summary>
    public ulong CodeCacheBytes { get; init; } = DefaultCodeCache;

    public const int DefaultWeight = 100, LargestWeight = 10_000;

    /// <summary>How much the machine's vCPUs count beside those of other machines where the host has too few processors for all.</summary>
    public int Weight { get; init; } = DefaultWeight;

    /// <summary>The most that each vCPU gets of one host processor, 1 to 100 percent; null: all of it.</summary>
    public double? CapPercent { get; init; }

    public const int MostHostProcessors = Host.ThreadScheduling.MostProcessors;

    /// <summary>Host processors on which vCPUs run: none for any, one set for all vCPUs, or one for each.</summary>
    public IReadOnlyList<IReadOnlyList<int>> Pins { get; init; } = [];

    /// <summary>One of <see cref="Engines.Names"/>.</summary>
    public string Engine { get; init; } = Engines.Default;
}

/// <summary>A feature switched on or off against the model.</summary>
public readonly record struct FeatureChange(string Feature, bool Present);
