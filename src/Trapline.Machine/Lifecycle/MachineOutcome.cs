namespace Trapline.Machine;

/// <summary>Why a machine came to its end.</summary>
public enum MachineEnd
{
    /// <summary>The guest switched itself off (ACPI S5).</summary>
    PowerOff,
    /// <summary>The guest asked for a reset and <see cref="EndSpecification.NoReboot"/> is set.</summary>
    Reboot,
    /// <summary>A vCPU shut down (SDM Vol. 3, 6.15).</summary>
    TripleFault,
    /// <summary>The guest's kernel reported a panic.</summary>
    Panic,
    /// <summary>Every vCPU sleeps with interrupts off, and <see cref="EndSpecification.WhenHaltedForGood"/> is set.</summary>
    Halted,
    /// <summary>The guest wrote to the debug-exit port.</summary>
    DebugExit,
    /// <summary><see cref="GuestMachine.Stop"/> or disposal.</summary>
    Stopped,
    /// <summary><see cref="EndSpecification.Timeout"/> passed.</summary>
    TimedOut,
    /// <summary>A fault of Trapline's own; the reason names it.</summary>
    Failed,
}

/// <summary>How a machine ended.</summary>
/// <param name="Reason">One line for the user.</param>
/// <param name="DebugExitCode">With <see cref="MachineEnd.DebugExit"/>: (v &lt;&lt; 1) | 1, as an exit status.</param>
public sealed record MachineOutcome(MachineEnd End, string Reason, int DebugExitCode = 0);

/// <summary>Where a machine is in its life.</summary>
public enum MachineStatus
{
    Created,
    Running,
    Paused,
    Ended,
}
