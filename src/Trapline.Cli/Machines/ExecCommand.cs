using System.CommandLine;
using System.Runtime.InteropServices;
using Trapline.Agent;
using Trapline.Control.Client;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Cli.Machines;

/// <summary>`trapline exec`: a command in the guest of a machine that runs; its streams, its exit status.</summary>
internal static class ExecCommand
{
    public const string Examples = """
        Examples:
          trapline run --name box --idle &          a guest that waits for commands
          trapline exec box -- uname -a             one command in it; its output, its exit status
          tar c . | trapline exec box -- tar x      standard input goes through
          trapline stop box

        The first Ctrl-C is the command's, a second one ends trapline exec, and the command with it.
        Exit status: the command's; 2 and 69 are Trapline's own, as in trapline run --help.
        """;

    private const int Interrupt = 2, Terminate = 15;

    public static Command Build(IReadOnlyList<ReadOnlyMemory<byte>>? command, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Command exec = new("exec", "Run a command in the guest of a machine started with --idle: trapline exec NAME -- COMMAND [ARGUMENTS]") { name };
        exec.SetAction(result =>
        {
            if (command is not { Count: > 0 })
                throw new BadInputException($"there is no command after '--': name one, such as trapline exec {result.GetValue(name)} -- uname -a");
            return MachineArgument.Ask(result.GetValue(name)!, errors, client => RunAsync(client, result.GetValue(name)!, command, errors));
        });
        return exec;
    }

    private static async Task<int> RunAsync(ControlClient client, string name, IReadOnlyList<ReadOnlyMemory<byte>> command, TextWriter errors)
    {
        using RemoteProgram program = await client.ExecuteAsync(name, new GuestProgram
        {
            Arguments = command,
            Environment = Environment.GetEnvironmentVariable("TERM") is { } terminal ? ["TERM=" + terminal] : [],
            Stdin = HostTerminal.IsTerminal(0) && !HostTerminal.IsForeground ? null : DescriptorStream.StandardInput,
            Stdout = DescriptorStream.StandardOutput,
            Stderr = DescriptorStream.StandardError,
        }).ConfigureAwait(false);
        int interrupts = 0;
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Pass(context, Interrupt));
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Pass(context, Terminate));
        ProgramResult result = await program.Ended.ConfigureAwait(false);
        if (result.End != ProgramEnd.GuestGone)
            return result.ExitCode;
        errors.WriteLine($"trapline: machine '{name}' ended or restarted before the command did");
        return ExitCodes.Unavailable;

        void Pass(PosixSignalContext context, int number)
        {
            if (interrupts++ > 0)
                return; // the usual end
            context.Cancel = true;
            _ = program.SignalAsync(number);
        }
    }
}
