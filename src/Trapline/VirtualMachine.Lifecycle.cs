using Trapline.Machine;

namespace Trapline;

/// <summary>The switches of a machine that runs.</summary>
public sealed partial class VirtualMachine
{
    public MachineSpecification Specification => _machine.Specification;

    public MachineStatus Status => _machine.Status;

    /// <summary>Stops all vCPUs and guest time with them; returns when they stand. Blocks: not for vCPU threads.</summary>
    public void Pause() => _machine.Pause();

    /// <summary>Goes on after <see cref="Pause"/>. The default guest, to which no time has passed, is told the time of day.</summary>
    public void Resume()
    {
        bool wasPaused = Status == MachineStatus.Paused;
        _machine.Resume();
        if (wasPaused && _agent is { Ready: { IsCompletedSuccessfully: true, Result: true } })
            _agent.Refresh();
    }

    /// <summary>Resets the machine, as its reset button does; it ends if its specification says so.</summary>
    public void Reset() => _machine.Reset();

    /// <summary>Presses the power button: a guest with ACPI and somebody who listens shuts itself down.</summary>
    public void PressPowerButton() => _machine.PressPowerButton();

    /// <summary>Asks the guest to do without so many bytes of its memory, which go back to the host as it gives them up.</summary>
    /// <remarks>How far it is, <see cref="MachineStatistics.Balloon"/> says.</remarks>
    /// <exception cref="Core.BadInputException">The machine has no balloon, or less memory.</exception>
    public void SetBalloon(ulong bytes) => _machine.SetBalloon(bytes);

    /// <summary>Sends an NMI to every vCPU.</summary>
    public void SendNmi() => _machine.SendNmi();
}
