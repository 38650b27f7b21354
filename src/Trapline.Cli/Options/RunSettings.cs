using Trapline.Machine;
using Trapline.Storage;

namespace Trapline.Cli.Options;

/// <summary>What `trapline run` was asked to do; values are checked, files not yet opened.</summary>
internal sealed record RunSettings
{
    /// <summary>A saved machine to go on with, instead of anything that boots.</summary>
    public string? Snapshot { get; init; }

    /// <summary>Where to save the machine when its command or shell has ended; null switches it off.</summary>
    public string? Save { get; init; }

    public string? Kernel { get; init; }
    public string? Initrd { get; init; }
    public string? Append { get; init; }
    public ulong MemoryBytes { get; init; }
    public required CpuSpecification Cpu { get; init; }

    /// <summary>Null if the user named none.</summary>
    public SerialTarget? Serial { get; init; }

    /// <summary>A root file system from the cache for the default guest to run in; null for its initramfs.</summary>
    public string? Image { get; init; }

    public IReadOnlyList<DiskSpecification> Disks { get; init; } = [];
    public IReadOnlyList<ShareDevice> Shares { get; init; } = [];
    public NetworkSettings Network { get; init; } = NetworkSettings.Default;
    public bool Entropy { get; init; }
    public bool Balloon { get; init; }
    public SocketDevice? Socket { get; init; }
    public IReadOnlyList<PortArgument> Ports { get; init; } = [];
    public bool WithoutPci { get; init; }
    public string? DebugConsole { get; init; }
    public required TestSpecification Test { get; init; }
    public required EndSpecification End { get; init; }
    public bool Statistics { get; init; }
    public TraceArgument? Trace { get; init; }
    public IReadOnlyList<ulong> DumpBlocks { get; init; } = [];
    public bool PerfMap { get; init; }
    public bool Verbose { get; init; }

    /// <summary>By which the machine can be reached; null for none.</summary>
    public string? Name { get; init; }

    /// <summary>Boot the default guest and run nothing in it.</summary>
    public bool Idle { get; init; }

    /// <summary>The command to run in the default guest, byte for byte; null for none.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>>? Command { get; init; }
}
