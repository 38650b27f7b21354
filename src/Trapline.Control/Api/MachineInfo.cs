using System.Text.Json.Serialization;

namespace Trapline.Control.Api;

/// <summary>One machine, as <c>trapline list</c> shows it.</summary>
public sealed record MachineInfo
{
    public required string Name { get; init; }
    public required MachineState State { get; init; }

    /// <summary>What runs the vCPUs.</summary>
    public required string Engine { get; init; }

    /// <summary>Host time since the machine was made.</summary>
    public required double UptimeSeconds { get; init; }

    public required ulong MemoryBytes { get; init; }
    public required int Vcpus { get; init; }

    /// <summary>The process that runs it.</summary>
    public required int Pid { get; init; }

    /// <summary>Whether exec runs programs in it: its guest has an agent.</summary>
    public required bool Executes { get; init; }
}

public enum MachineState
{
    [JsonStringEnumMemberName("created")]
    Created,
    [JsonStringEnumMemberName("running")]
    Running,
    [JsonStringEnumMemberName("paused")]
    Paused,
    [JsonStringEnumMemberName("ended")]
    Ended,
}

public sealed record MachineList
{
    public required IReadOnlyList<MachineInfo> Machines { get; init; }
}
