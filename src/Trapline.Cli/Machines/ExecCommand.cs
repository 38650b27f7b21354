using System.CommandLine;
using System.Runtime.InteropServices;
using Trapline.Agent;
using Trapline.Cli.Terminal;
using Trapline.Control.Client;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Cli.Machines;

/// <summary>`trapline exec`: a command in the guest of a machine that runs; its streams, its exit status.</summary>
internal static class ExecCommand
{
    public const string Examples = """
        Examples:
          trapline run --name box --idle &          a guest that waits for commands; any run with a name takes them
          trapline exec box -- uname -a             one command in it; its output, its exit status
          trapline exec -t box -- sh                a shell in a terminal of its own; Ctrl-A x leaves it
          tar c . | trapline exec box -- tar x      standard input goes through
          trapline stop box

        The first Ctrl-C is the command's, a second one ends trapline exec, and the command with it.
        Exit status: the command's; 2 and 69 are Trapline's own, as in trapline run --help.
        """;

    private const int Interrupt = 2, Terminate = 15;

    public static Command Build(IReadOnlyList<ReadOnlyMemory<byte>>? command, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Option<bool> terminal = new("--tty", "-t") { Description = "In a terminal of its own in the guest, which yours becomes; Ctrl-A x leaves it" };
        Command exec = new("exec", "Run a command in the guest of a machine with a name: trapline exec NAME -- COMMAND [ARGUMENTS]") { name, terminal };
        exec.SetAction(result =>
        {
            if (command is not { Count: > 0 })
                throw new BadInputException($"there is no command after '--': name one, such as trapline exec {result.GetValue(name)} -- uname -a");
            string machine = result.GetValue(name)!;
            return MachineArgument.Ask(machine, errors, client => result.GetValue(terminal)
                ? RunInTerminalAsync(client, machine, command, errors)
                : RunAsync(client, machine, command, errors));
        });
        return exec;
    }

    private static async Task<int> RunAsync(ControlClient client, string name, IReadOnlyList<ReadOnlyMemory<byte>> command, TextWriter errors)
    {
        using RemoteProgram program = await client.ExecuteAsync(name, Program(command) with
        {
            Stdin = HostTerminal.IsTerminal(0) && !HostTerminal.IsForeground ? null : DescriptorStream.StandardInput,
        }).ConfigureAwait(false);
        int interrupts = 0;
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Pass(context, Interrupt));
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Pass(context, Terminate));
        return Status(await program.Ended.ConfigureAwait(false), name, errors);

        void Pass(PosixSignalContext context, int number)
        {
            if (interrupts++ > 0)
                return; // the usual end
            context.Cancel = true;
            _ = program.SignalAsync(number);
        }
    }

    /// <summary>Every key goes to the guest, Ctrl-C too; without a terminal here, what comes is taken as typed.</summary>
    private static async Task<int> RunInTerminalAsync(ControlClient client, string name, IReadOnlyList<ReadOnlyMemory<byte>> command, TextWriter errors)
    {
        TaskCompletionSource quit = new(TaskCreationOptions.RunContinuationsAsynchronously);
        bool typed = HostTerminal.IsForeground;
        EscapeFilter escape = new(quit.SetResult, () => InteractiveTerminal.Say(EscapeFilter.Help));
        ProgramResult result;
        using (RemoteProgram program = await client.ExecuteAsync(name, Program(command) with
        {
            Place = ProgramPlace.Terminal,
            Window = Window(),
            Stdin = typed ? new TypedStream(DescriptorStream.StandardInput, escape) : HostTerminal.IsTerminal(0) ? null : DescriptorStream.StandardInput,
        }).ConfigureAwait(false))
        {
            using PosixSignalRegistration resized = PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => program.ResizeAsync(Window()));
            using InteractiveTerminal? terminal = InteractiveTerminal.Open();
            if (await Task.WhenAny(program.Ended, quit.Task).ConfigureAwait(false) == quit.Task)
                return ExitCodes.Success;
            result = await program.Ended.ConfigureAwait(false);
        }
        return Status(result, name, errors);
    }

    private static GuestProgram Program(IReadOnlyList<ReadOnlyMemory<byte>> command) => new()
    {
        Arguments = command,
        Environment = Environment.GetEnvironmentVariable("TERM") is { } terminal ? ["TERM=" + terminal] : [],
        Stdout = DescriptorStream.StandardOutput,
        Stderr = DescriptorStream.StandardError,
    };

    private static WindowSize Window() => HostTerminal.Size is var (rows, columns) ? new WindowSize(rows, columns) : default;

    private static int Status(ProgramResult result, string name, TextWriter errors)
    {
        if (result.End != ProgramEnd.GuestGone)
            return result.ExitCode;
        errors.WriteLine($"trapline: machine '{name}' ended or restarted before the command did");
        return ExitCodes.Unavailable;
    }
}
