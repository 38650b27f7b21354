using Trapline.Core;
using Trapline.Virtio.Console;

namespace Trapline.Machine;

/// <summary>The machine's character devices and where their bytes go. The caller owns the back ends and disposes them.</summary>
public sealed record ConsoleSpecification
{
    public const int MaximumSerialPorts = 4;

    /// <summary>COM1 to COM4, at most four; null leaves a port out of the machine.</summary>
    public IReadOnlyList<ICharacterBackend?> Serial { get; init; } = [];

    /// <summary>Ports of a virtio console; it is there if there are any. At most 16.</summary>
    public IReadOnlyList<ConsolePortSpecification> Ports { get; init; } = [];

    /// <summary>Port 0xE9: every byte written goes here. Null leaves it out.</summary>
    public ICharacterBackend? DebugConsole { get; init; }
}
