namespace Trapline.Control.Server;

/// <summary>The machines that a server serves: one for a run's own socket, many for a daemon.</summary>
public interface IMachineCatalog
{
    IReadOnlyList<ControlledMachine> Machines { get; }

    /// <summary>Null if there is none of this name.</summary>
    ControlledMachine? Find(string name);
}

/// <summary>The catalog of a run: its own machine.</summary>
public sealed class SingleMachine(ControlledMachine machine) : IMachineCatalog
{
    public IReadOnlyList<ControlledMachine> Machines => [machine];

    public ControlledMachine? Find(string name) => name == machine.Name ? machine : null;
}
