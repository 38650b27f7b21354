using System.Diagnostics;
using Trapline.Agent;
using Trapline.Cli.Options;
using Trapline.Cli.Reports;
using Trapline.Cli.Terminal;
using Trapline.Core;
using Trapline.Host;
using Trapline.Images;
using Trapline.Machine;

namespace Trapline.Cli;

/// <summary>One `trapline run`, from opening its files to its exit status.</summary>
internal sealed class RunSession(RunSettings settings)
{
    private readonly CancellationTokenSource _quit = new();

    public int Run()
    {
        using StopSignals signals = new();
        try
        {
            return RunAsync(signals).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException) when (signals.Received != 0)
        {
            return ExitCodes.SignalBase + signals.Received;
        }
    }

    private async Task<int> RunAsync(StopSignals signals)
    {
        // A shell without a terminal reads its commands from standard input, as any shell does.
        bool asCommand = settings.Command != null || settings.Idle || (settings.Kernel == null && !HostTerminal.IsForeground);
        CheckSerial(asCommand);
        await using NamedMachine? named = settings.Name == null ? null : NamedMachine.Claim(settings.Name);
        GuestImages? images = settings.Kernel == null && settings.Snapshot == null
            ? await FetchReporter.GetAsync(GuestImageStore.ForUser(), signals.Token).ConfigureAwait(false)
            : null;
        if (settings.Image is { } image && DiskImageStore.ForUser().List().All(i => i.Name != image))
            await FetchReporter.ShowAsync(progress => DiskImageStore.ForUser().PullAsync(image, progress, signals.Token)).ConfigureAwait(false);
        long start = Stopwatch.GetTimestamp();
        MachineOutcome outcome;
        int status;
        string? cutOff;
        IReadOnlyList<string> lastLines = [];
        MachineStatistics? statistics;
        using (RunResources resources = new())
        {
            using VirtualMachine vm = CreateMachine(resources, images, asCommand);
            using CancellationTokenRegistration stopped = signals.Token.Register(() => vm.Stop("a signal asked for it"));
            using CancellationTokenRegistration quit = _quit.Token.Register(() => vm.Stop("you asked for it"));
            named?.Serve(vm);
            GuestSession guest = new(vm, signals, settings.Save, settings.Image == null ? "sh" : "bash");
            if ((settings.Command != null || settings.Idle) && !vm.HasAgent)
                throw new BadInputException($"the guest in '{settings.Snapshot}' runs no commands: only the default guest does");
            string doing = images is null ? "restoring the guest" : "booting " + images.Description;
            status = !vm.HasAgent ? await guest.RunKernelAsync(TerminalIsSerial(asCommand)).ConfigureAwait(false)
                : settings.Idle ? await guest.RunIdleAsync(settings.Name!, doing).ConfigureAwait(false)
                : asCommand ? await guest.RunCommandAsync(Program(), doing).ConfigureAwait(false)
                : await guest.RunShellAsync(doing).ConfigureAwait(false);
            cutOff = guest.CutOff;
            outcome = await vm.OutcomeAsync().ConfigureAwait(false);
            if (!TerminalIsSerial(asCommand))
                lastLines = vm.LastConsoleLines(12);
            statistics = settings.Statistics ? vm.Statistics : null;
        }
        // Only now is everything that the guest sent on its way out, and the terminal the user's again.
        if (outcome.End == MachineEnd.Stopped && TerminalIsSerial(asCommand) && HostTerminal.IsTerminal(2))
            Console.Error.WriteLine(); // the guest was cut off in the middle of its line
        if (signals.Received != 0)
            return ExitCodes.SignalBase + signals.Received;
        Report(outcome, lastLines);
        if (cutOff != null && outcome.End is (MachineEnd.PowerOff or MachineEnd.Stopped) && !_quit.IsCancellationRequested)
            Console.Error.WriteLine($"trapline: the machine was stopped before {cutOff} ended");
        if (statistics != null)
            StatisticsReport.Write(Console.Error, statistics, Stopwatch.GetElapsedTime(start));
        if (named != null)
            await named.EndAsync(signals.Token).ConfigureAwait(false);
        return outcome.End is MachineEnd.PowerOff or MachineEnd.Stopped && !_quit.IsCancellationRequested ? status : ExitCodes.For(outcome);
    }

    private void CheckSerial(bool asCommand)
    {
        SerialKind kind = (settings.Serial ?? DefaultSerial(asCommand)).Kind;
        if (asCommand && kind == SerialKind.Stdio)
            throw new BadInputException("--serial 'stdio' and a command do not go together: the command has standard output; use file:PATH, pty or none");
        if (settings.Kernel == null && !asCommand && kind is SerialKind.None or SerialKind.File)
            throw new BadInputException("--serial leaves the guest's shell without a terminal: use stdio or pty, or give --kernel FILE or a command after '--'");
    }

    private VirtualMachine CreateMachine(RunResources resources, GuestImages? images, bool asCommand)
    {
        if (settings.Snapshot is { } snapshot)
            return Restore(resources, snapshot, asCommand);
        SerialTarget serial = settings.Serial ?? DefaultSerial(asCommand);
        BootSpecification? boot = settings.Kernel is { } kernel
            ? new BootSpecification
            {
                Kernel = InputFile.Read("--kernel", kernel, "a kernel", settings.MemoryBytes),
                Initrd = settings.Initrd is { } initrd ? InputFile.Read("--initrd", initrd, "an initial RAM disk", settings.MemoryBytes) : null,
                CommandLine = settings.Append ?? "",
            }
            : null;
        if (settings.Verbose && Engines.Choose(settings.Cpu.Engine) is { } engine)
            Console.Error.WriteLine($"trapline: engine {engine.Name}: {engine.Why}");
        EscapeFilter escape = new(_quit.Cancel, () => InteractiveTerminal.Say(EscapeFilter.Help));
        MachineSpecification specification = new()
        {
            MemoryBytes = settings.MemoryBytes,
            Cpu = settings.Cpu,
            Boot = boot,
            Devices = resources.OpenDevices(settings),
            Test = settings.Test,
            End = asCommand && !settings.Idle ? settings.End with { NoReboot = true } : settings.End,
            Diagnostics = resources.OpenDiagnostics(settings),
            Consoles = new ConsoleSpecification
            {
                DebugConsole = resources.OpenDebugConsole(settings.DebugConsole),
                Ports = resources.OpenPorts(settings),
                Serial = [resources.OpenSerial(serial, escape)],
            },
        };
        VirtualMachine vm = CreateMachine(specification, images);
        if (vm.EngineNote is { } note)
            Console.Error.WriteLine("trapline: " + note);
        if (TerminalIsSerial(asCommand) && InteractiveTerminal.Open() is { } terminal)
            resources.Use(terminal);
        return vm;
    }

    private VirtualMachine Restore(RunResources resources, string snapshot, bool asCommand)
    {
        EscapeFilter escape = new(_quit.Cancel, () => InteractiveTerminal.Say(EscapeFilter.Help));
        ICharacterBackend? console = resources.OpenSerial(settings.Serial ?? DefaultSerial(asCommand), escape);
        DiagnosticsSpecification diagnostics = resources.OpenDiagnostics(settings);
        IReadOnlyList<DiskDevice> disks = resources.OpenDisks(settings);
        VirtualMachine vm = VirtualMachine.Restore(snapshot, saved => saved with
        {
            Devices = saved.Devices with
            {
                Disks = disks.Count == 0 ? saved.Devices.Disks : disks,
                Shares = ShareOption.ForSaved(settings.Shares, saved.Devices.Shares),
                Networks = resources.ReopenNetworks(settings.Network, saved.Devices.Networks),
                Socket = VsockArgument.ForSaved(settings.Socket, saved.Devices.Socket),
            },
            Cpu = saved.Cpu with { Engine = settings.Cpu.Engine.Length > 0 ? settings.Cpu.Engine : saved.Cpu.Engine },
            End = settings.End with { NoReboot = true, PanicDevice = saved.End.PanicDevice },
            Diagnostics = diagnostics,
            Consoles = saved.Consoles with
            {
                Ports = resources.ReopenPorts(settings.Ports, saved.Consoles.Ports),
                Serial = [.. saved.Consoles.Serial.Select((port, i) => i == 0 && port is not null ? console ?? port : port)],
            },
        });
        if (TerminalIsSerial(asCommand) && InteractiveTerminal.Open() is { } terminal)
            resources.Use(terminal);
        return vm;
    }

    private VirtualMachine CreateMachine(MachineSpecification specification, GuestImages? images)
    {
        try
        {
            return images == null
                ? VirtualMachine.Create(specification)
                : VirtualMachine.CreateDefaultGuest(images, specification, Append);
        }
        catch (BadInputException e)
        {
            throw OptionNames.Named(e);
        }
    }

    /// <summary>The guest's init mounts the image, which is the first disk, and goes there.</summary>
    private string? Append => settings.Image == null ? settings.Append : $"trapline.root=/dev/vda {settings.Append}";

    private bool TerminalIsSerial(bool asCommand) => !asCommand && (settings.Serial?.Kind ?? SerialKind.Stdio) == SerialKind.Stdio;

    private static SerialTarget DefaultSerial(bool asCommand) => new(asCommand ? SerialKind.None : SerialKind.Stdio);

    private GuestProgram Program() => new()
    {
        Arguments = settings.Command ?? [new ReadOnlyMemory<byte>("sh"u8.ToArray())],
        Environment = Environment.GetEnvironmentVariable("TERM") is { } terminal ? ["TERM=" + terminal] : [],
        Stdin = HostTerminal.IsTerminal(0) && !HostTerminal.IsForeground ? null : DescriptorStream.StandardInput,
        Stdout = DescriptorStream.StandardOutput,
        Stderr = DescriptorStream.StandardError,
    };

    private static void Report(MachineOutcome outcome, IReadOnlyList<string> lastLines)
    {
        if (outcome.End is MachineEnd.PowerOff or MachineEnd.Stopped or MachineEnd.DebugExit)
            return;
        if (outcome.End is MachineEnd.Panic or MachineEnd.TripleFault or MachineEnd.Halted)
        {
            foreach (string line in lastLines)
                Console.Error.WriteLine("guest: " + line);
        }
        Console.Error.WriteLine("trapline: " + outcome.Reason);
    }
}
