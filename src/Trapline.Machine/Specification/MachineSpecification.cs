namespace Trapline.Machine;

/// <summary>Everything that defines one machine, parsed once and never changed: command line, daemon and library all produce this.</summary>
public sealed record MachineSpecification
{
    /// <summary>Guest RAM in bytes; a multiple of 4,096. Committed when touched.</summary>
    public ulong MemoryBytes { get; init; } = 512ul << 20;

    public CpuSpecification Cpu { get; init; } = new();

    /// <summary>What to start. Without it the vCPU begins at the reset vector of an empty machine.</summary>
    public BootSpecification? Boot { get; init; }

    public ConsoleSpecification Consoles { get; init; } = new();

    public DeviceSpecification Devices { get; init; } = new();

    public TestSpecification Test { get; init; } = new();

    public EndSpecification End { get; init; } = new();

    public DiagnosticsSpecification Diagnostics { get; init; } = new();
}
