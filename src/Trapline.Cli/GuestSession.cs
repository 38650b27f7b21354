using System.Runtime.InteropServices;
using Trapline.Agent;
using Trapline.Cli.Reports;
using Trapline.Cli.Terminal;
using Trapline.Host;

namespace Trapline.Cli;

/// <summary>What happens in a machine once it is there: a kernel of the user's, one command, or a shell. Returns the exit status if all goes well.</summary>
/// <param name="save">Where the machine is saved when its command or shell has ended; null switches it off.</param>
/// <param name="shell">The program that is a login shell where the guest runs.</param>
internal sealed class GuestSession(VirtualMachine vm, StopSignals signals, string? save, string shell)
{
    private const int Interrupt = 2;

    /// <summary>What ran in the guest when its host ended it, for people; else null.</summary>
    public string? CutOff { get; private set; }

    /// <summary>Boots and waits for the end, whatever it is.</summary>
    public async Task<int> RunKernelAsync(bool hasTerminal)
    {
        vm.Start();
        if (hasTerminal && HostTerminal.IsForeground && HostTerminal.IsTerminal(2))
            InteractiveTerminal.Say(EscapeFilter.Help);
        await vm.Completion.ConfigureAwait(false);
        return ExitCodes.Success;
    }

    /// <summary>Runs one command; the guest ends with it.</summary>
    public async Task<int> RunCommandAsync(GuestProgram program, string doing)
    {
        await BootAsync(doing).ConfigureAwait(false);
        if (await vm.StartProgramAsync(program).ConfigureAwait(false) is not { } process)
            return await GuestGoneAsync("the command").ConfigureAwait(false);
        int interrupts = 0;
        // The first Ctrl-C is the command's, as if it ran here; a second one is ours.
        signals.Intercept = number =>
        {
            if (number != Interrupt || process.Ended.IsCompleted || interrupts++ > 0)
                return false;
            process.Signal(Interrupt);
            return true;
        };
        ProgramResult result = await process.Ended.ConfigureAwait(false);
        signals.Intercept = null;
        if (result.End == ProgramEnd.GuestGone)
            return await GuestGoneAsync("the command").ConfigureAwait(false);
        await EndAsync().ConfigureAwait(false);
        await vm.Completion.ConfigureAwait(false);
        return result.ExitCode;
    }

    /// <summary>Boots and leaves the guest to those who know its name.</summary>
    public async Task<int> RunIdleAsync(string name, string doing)
    {
        await BootAsync(doing).ConfigureAwait(false);
        if (!vm.Completion.IsCompleted && HostTerminal.IsTerminal(2))
            Console.Error.WriteLine($"trapline: '{name}' is up: trapline exec {name} -- COMMAND; trapline stop {name} or Ctrl-C ends it");
        await vm.Completion.ConfigureAwait(false);
        return ExitCodes.Success;
    }

    /// <summary>Runs a login shell on the guest's console, again after each reboot; the guest ends with it.</summary>
    public async Task<int> RunShellAsync(string doing)
    {
        IGuestProcess? process = null;
        using PosixSignalRegistration resized = PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => process?.Resize(Window()));
        vm.Start();
        do
        {
            using (new BootTicker($"{doing} (Ctrl-A x quits)"))
            {
                if (!await vm.WaitForAgentAsync().ConfigureAwait(false))
                    break;
            }
            process = await vm.StartProgramAsync(Shell()).ConfigureAwait(false);
            if (process != null && await process.Ended.ConfigureAwait(false) is { End: not ProgramEnd.GuestGone } result)
            {
                await EndAsync().ConfigureAwait(false);
                return result.ExitCode;
            }
        }
        while (!vm.Completion.IsCompleted);
        return await GuestGoneAsync("the shell").ConfigureAwait(false);
    }

    /// <summary>A guest that switched itself off is fine; one that somebody else stopped did not do what was asked.</summary>
    private async Task<int> GuestGoneAsync(string what)
    {
        await vm.Completion.ConfigureAwait(false);
        if (!vm.WasToldToEnd || signals.Received != 0)
            return ExitCodes.Success;
        CutOff = what;
        return ExitCodes.Unavailable;
    }

    private async Task EndAsync()
    {
        if (save is null)
        {
            await vm.PowerOffAsync().ConfigureAwait(false);
            return;
        }
        await vm.SaveAsync(save).ConfigureAwait(false);
        vm.Stop($"it was saved to {save}");
    }

    private async Task BootAsync(string doing)
    {
        vm.Start();
        using BootTicker ticker = new(doing);
        await vm.WaitForAgentAsync().ConfigureAwait(false);
    }

    private GuestProgram Shell() => VirtualMachine.Program(shell, "-l") with
    {
        Place = ProgramPlace.Console,
        Window = Window(),
        Environment = Environment.GetEnvironmentVariable("TERM") is { } terminal ? ["TERM=" + terminal] : [],
    };

    private static WindowSize Window() => HostTerminal.Size is var (rows, columns) ? new WindowSize(rows, columns) : default;
}
