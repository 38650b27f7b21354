using Trapline.Core;
using Trapline.Virtio.Console;

namespace Trapline.Machine;

/// <summary>The machine's ends of the back ends; they outlive the boards.</summary>
internal sealed class BoardConsoles
{
    private readonly BackendSwitch?[] _serial;
    private readonly BackendSwitch[] _ports;

    /// <exception cref="BadInputException">There are more serial ports than a PC has.</exception>
    public BoardConsoles(ConsoleSpecification specification)
    {
        if (specification.Serial.Count > ConsoleSpecification.MaximumSerialPorts)
            throw new BadInputException($"{specification.Serial.Count} serial ports: a machine has at most {ConsoleSpecification.MaximumSerialPorts}");
        _serial = [.. specification.Serial.Select(b => b is null ? null : new BackendSwitch(b))];
        DebugConsole = specification.DebugConsole;
        _ports = [.. specification.Ports.Select(p => new BackendSwitch(p.Backend))];
        Ports = [.. specification.Ports.Select((p, i) => p with { Backend = _ports[i] })];
    }

    public IReadOnlyList<BackendSwitch?> Serial => _serial;

    public ICharacterBackend? DebugConsole { get; }

    /// <summary>The virtio console's ports.</summary>
    public IReadOnlyList<ConsolePortSpecification> Ports { get; }

    /// <summary>Keeps input out of the chips until <see cref="Release"/>, so that chips and back ends are saved at one moment.</summary>
    public void Hold()
    {
        foreach (BackendSwitch? backend in _serial.Concat(_ports))
            backend?.Hold();
    }

    public void Release()
    {
        foreach (BackendSwitch? backend in _serial.Concat(_ports))
            backend?.Release();
    }

    /// <summary>Takes the chips off; no input reaches them when this returns.</summary>
    public void Unplug()
    {
        foreach (BackendSwitch? backend in _serial.Concat(_ports))
            backend?.Unplug();
    }
}
