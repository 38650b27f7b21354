using Trapline.Agent;
using Trapline.Consoles;
using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;

namespace Trapline;

/// <summary>A virtual machine: made from a specification, started once, ended by its guest or by <see cref="Stop"/>.</summary>
/// <example>
/// <code>
/// GuestImages images = await GuestImageStore.ForUser().GetAsync(null, default);
/// using var vm = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification());
/// vm.Start();
/// ProgramResult result = await vm.ExecuteAsync(VirtualMachine.Program("uname", "-a") with { Stdout = Console.OpenStandardOutput() });
/// await vm.PowerOffAsync();
/// </code>
/// </example>
public sealed partial class VirtualMachine : IDisposable
{
    /// <summary>How long a guest may take to switch itself off before it is stopped.</summary>
    private static readonly TimeSpan PowerOffPatience = TimeSpan.FromSeconds(20);

    private readonly GuestMachine _machine;
    private readonly AgentChannel? _agent;
    private readonly ConsoleTail? _tail;

    private VirtualMachine(GuestMachine machine, AgentChannel? agent, ConsoleTail? tail)
    {
        _machine = machine;
        _agent = agent;
        _tail = tail;
    }

    /// <summary>Makes a machine that boots what the specification names.</summary>
    /// <exception cref="BadInputException">The specification or a boot image cannot be used.</exception>
    public static VirtualMachine Create(MachineSpecification specification)
    {
        specification = DefaultGuest.WithTail(specification, out ConsoleTail? tail);
        return new VirtualMachine(GuestMachine.Create(specification), null, tail);
    }

    /// <summary>Makes a machine that boots the default guest, whose agent runs programs; the second serial port is the agent's.</summary>
    /// <param name="images">The guest's kernel and programs.</param>
    /// <param name="specification">The machine; its boot part is filled in.</param>
    /// <param name="append">More words for the kernel command line.</param>
    /// <exception cref="BadInputException">The specification cannot be used.</exception>
    public static VirtualMachine CreateDefaultGuest(GuestImages images, MachineSpecification specification, string? append = null)
    {
        AgentChannel agent = new();
        try
        {
            specification = DefaultGuest.WithTail(DefaultGuest.Complete(specification, images, agent, append), out ConsoleTail? tail);
            return new VirtualMachine(GuestMachine.Create(specification), agent, tail);
        }
        catch
        {
            agent.Dispose();
            throw;
        }
    }

    /// <summary>A program for <see cref="ExecuteAsync"/>, its arguments in UTF-8.</summary>
    public static GuestProgram Program(params IEnumerable<string> arguments) => new()
    {
        Arguments = [.. arguments.Select(a => new ReadOnlyMemory<byte>(System.Text.Encoding.UTF8.GetBytes(a)))],
    };

    /// <summary>Ends with the machine. Never faults.</summary>
    public Task<MachineOutcome> Completion => _machine.Completion;

    /// <summary>One line for people if the engine that was asked for cannot run here and another took over; else null.</summary>
    public string? EngineNote => _machine.EngineNote;

    public MachineStatistics Statistics => _machine.GetStatistics();

    /// <summary>The last lines that the first serial port sent.</summary>
    public IReadOnlyList<string> LastConsoleLines(int count) => _tail?.LastLines(count) ?? [];

    /// <summary>Starts the vCPUs. Once only.</summary>
    /// <param name="paused">They stand before their first instruction until <see cref="Resume"/>.</param>
    public void Start(bool paused = false)
    {
        _machine.Start(paused);
        if (_agent != null)
            _ = _machine.Completion.ContinueWith(_ => _agent.Close(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    /// <summary>Waits for the guest's agent; false if the guest ends first.</summary>
    public Task<bool> WaitForAgentAsync() => Agent.Ready;

    /// <summary>Runs a program in the default guest, after its agent has come up; ends with the program, its output delivered.</summary>
    /// <exception cref="InvalidOperationException">The guest runs <see cref="Frame.MaximumPrograms"/> already.</exception>
    public Task<ProgramResult> ExecuteAsync(GuestProgram program) => Agent.RunAsync(program);

    /// <summary>Starts a program in the default guest, after its agent has come up; null if the guest ends first.</summary>
    /// <exception cref="InvalidOperationException">The guest runs <see cref="Frame.MaximumPrograms"/> already.</exception>
    public Task<IGuestProcess?> StartProgramAsync(GuestProgram program) => Agent.StartAsync(program);

    /// <summary>
    /// Has the guest switch itself off, by its agent or else by the power button, and waits for it; a guest that does not is stopped.
    /// </summary>
    /// <param name="patience">How long it may take; 20 seconds unless given.</param>
    public async Task<MachineOutcome> PowerOffAsync(TimeSpan? patience = null)
    {
        WasToldToEnd |= !Completion.IsCompleted;
        if (await Task.WhenAny(AskedAndEndedAsync(), Task.Delay(patience ?? PowerOffPatience)).ConfigureAwait(false) is Task<MachineOutcome> ended)
            await ended.ConfigureAwait(false);
        else
            Stop("the guest did not switch itself off");
        return await OutcomeAsync().ConfigureAwait(false);

        async Task<MachineOutcome> AskedAndEndedAsync()
        {
            if (_agent == null)
                PressPowerButton();
            else if (await _agent.Ready.ConfigureAwait(false)) // an agent that comes up does not know what was said before
                _agent.PowerOff();
            return await Completion.ConfigureAwait(false);
        }
    }

    /// <summary>Its host has asked the machine to end, or pulled the plug; it did not end of its own accord.</summary>
    public bool WasToldToEnd { get; private set; }

    /// <summary>How the machine ended. A panic that the guest could report only on its console counts as one.</summary>
    public async Task<MachineOutcome> OutcomeAsync()
    {
        MachineOutcome outcome = await Completion.ConfigureAwait(false);
        return outcome.End is MachineEnd.Reboot or MachineEnd.Stopped && _tail is { SawPanic: true }
            ? new MachineOutcome(MachineEnd.Panic, "the guest's kernel panicked")
            : outcome;
    }

    /// <summary>The engine that runs the vCPUs, one of <see cref="Engines.Names"/>.</summary>
    public string EngineName => _machine.EngineName;

    /// <summary>Has another engine run the vCPUs from here on; the guest does not notice.</summary>
    /// <param name="name">One of <see cref="Engines.Names"/>.</param>
    /// <returns>For how long no vCPU ran.</returns>
    /// <exception cref="BadInputException">No engine has this name, or it cannot run this machine; the one before goes on.</exception>
    /// <exception cref="InvalidOperationException">The machine has ended.</exception>
    public Task<TimeSpan> SwitchEngineAsync(string name) => Task.Run(() => _machine.SwitchEngine(name));

    /// <summary>Ends the machine, as pulling the plug does.</summary>
    public void Stop(string reason = "stopped")
    {
        WasToldToEnd |= !Completion.IsCompleted;
        _machine.Stop(reason);
    }

    public void Dispose()
    {
        _disposing.Cancel();
        _machine.Dispose();
        _connections.ForEach(connection => connection.Dispose());
        _agent?.Dispose();
        MemoryChecked.Wait();
        _snapshot?.Dispose();
        _disposing.Dispose();
    }

    private AgentChannel Agent => _agent ?? throw new InvalidOperationException("only the default guest has an agent");
}
