using Trapline.Machine;

namespace Trapline.Cli;

/// <summary>What the command's exit status says. Documented in the help and in README.md.</summary>
internal static class ExitCodes
{
    public const int Success = 0;
    public const int BadInput = 2;
    public const int Unavailable = 69;
    public const int TripleFault = 70;
    public const int Panic = 71;
    public const int Failed = 72;
    public const int Halted = 73;
    public const int TimedOut = 124;

    /// <summary>A signal that ended the command: this and its number, as a shell has it.</summary>
    public const int SignalBase = 128;

    public static int For(MachineOutcome outcome) => outcome.End switch
    {
        MachineEnd.TripleFault => TripleFault,
        MachineEnd.Panic => Panic,
        MachineEnd.DebugExit => outcome.DebugExitCode & 0xFF,
        MachineEnd.Halted => Halted,
        MachineEnd.TimedOut => TimedOut,
        MachineEnd.Failed => Failed,
        _ => Success,
    };

    public const string Help = """
        Exit status:
          0          the guest switched itself off, rebooted with --no-reboot, or you quit (Ctrl-A x)
          status     with a command: the command's own; 128+N if signal N killed it; 126/127 if it could not be run
          (v<<1)|1   with --debug-exit: the guest wrote v to port 0xF4
          2          bad input; one line says what and how to mend it
          69         the machine that was named does not answer; it ended, or was stopped by somebody else, before the command did
          70         triple fault: a guest CPU shut down
          71         the guest's kernel panicked
          72         Trapline itself failed; please report it
          73         the guest halted with interrupts off, so that nothing can wake it
          124        --timeout passed
          128+N      signal N ended trapline
        """;
}
