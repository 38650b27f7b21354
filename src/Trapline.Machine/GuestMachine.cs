using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>One virtual machine from power-on to its end.</summary>
/// <remarks>All members may be called from any thread. Several machines live in one process without knowing of each other.</remarks>
public sealed class GuestMachine : IDisposable
{
    private GuestMachine(MachineSpecification specification)
    {
        Specification = specification;
    }

    /// <summary>Builds the board, loads the boot images and puts the vCPUs at their first instruction; nothing runs yet.</summary>
    /// <param name="specification">What to build.</param>
    /// <param name="engines">Overrides the engine named in the specification, for tests.</param>
    /// <exception cref="BadInputException">The specification or a boot image cannot be used.</exception>
    public static GuestMachine Create(MachineSpecification specification, EngineFactory? engines = null) => new(specification);

    public MachineSpecification Specification { get; }

    public MachineStatus Status => MachineStatus.Created;

    /// <summary>Ends with the machine. Never faults.</summary>
    public Task<MachineOutcome> Completion => throw new NotImplementedException();

    /// <summary>Starts the vCPUs. Once only.</summary>
    public void Start() => throw new NotImplementedException();

    /// <summary>Stops all vCPUs between two instructions and guest time with them; returns when they stand.</summary>
    public void Pause() => throw new NotImplementedException();

    public void Resume() => throw new NotImplementedException();

    /// <summary>Ends the machine, as pulling the plug does. The outcome is <see cref="MachineEnd.Stopped"/> unless it had ended already.</summary>
    public void Stop(string reason = "stopped") => throw new NotImplementedException();

    /// <summary>Presses the power button: a guest with ACPI shuts itself down.</summary>
    public void PressPowerButton() => throw new NotImplementedException();

    /// <summary>Sends an NMI to every vCPU.</summary>
    public void SendNmi() => throw new NotImplementedException();

    /// <summary>Starts, waits for the end; a cancelled token stops the machine (it does not throw).</summary>
    public Task<MachineOutcome> RunAsync(CancellationToken cancellation = default) => throw new NotImplementedException();

    public MachineStatistics GetStatistics() => throw new NotImplementedException();

    /// <summary>A vCPU's state, while the machine is paused or ended (or not started).</summary>
    /// <exception cref="InvalidOperationException">The machine is running.</exception>
    public VcpuState ExportVcpu(int index) => throw new NotImplementedException();

    public GuestMemory Memory => throw new NotImplementedException();

    public void Dispose() { }
}
