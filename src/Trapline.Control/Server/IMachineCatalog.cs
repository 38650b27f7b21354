namespace Trapline.Control.Server;

/// <summary>The machines that a server serves.</summary>
public interface IMachineCatalog
{
    IReadOnlyList<ControlledMachine> Machines { get; }

    /// <summary>Null if there is none of this name.</summary>
    ControlledMachine? Find(string name);
}
