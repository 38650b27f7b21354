using System.Globalization;
using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>One virtual machine from power-on to its end.</summary>
/// <remarks>
/// All members may be called from any thread. Several machines live in one process without knowing of each other.
/// Requests to end or reset come from vCPU and timer threads: they stop the vCPUs and leave the rest to the machine's own thread,
/// which joins them and then ends the machine or builds a new board.
/// </remarks>
public sealed partial class GuestMachine : IDisposable, IBoardHost
{
    private readonly Lock _lock = new();
    private readonly BoardConsoles _consoles;
    private EngineFactory _engines;
    private readonly CpuModel _model;
    private readonly ManualResetEventSlim _decision = new(initialState: false);
    private readonly TaskCompletionSource<MachineOutcome> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread _thread;
    private PcBoard? _board;
    private MachineOutcome? _end;
    private bool _reset;
    private bool _disposed;
    private readonly bool _choseEngine;

    private GuestMachine(MachineSpecification specification, EngineFactory? engines, MachineImage? image)
    {
        // An override needs no choice, which may cost a probe.
        string engine = engines is null ? Engines.Choose(specification.Cpu.Engine).Name : specification.Cpu.Engine;
        Specification = specification with { Cpu = specification.Cpu with { Engine = engine } };
        _choseEngine = specification.Cpu.Engine == Engines.Default;
        Engines.Check(specification.Cpu);
        _engines = engines ?? Engines.Find(engine);
        EngineName = engine;
        _model = image?.Model ?? CpuModels.Resolve(specification.Cpu);
        _consoles = new BoardConsoles(specification.Consoles);
        _thread = new Thread(Supervise) { IsBackground = true, Name = "machine" };
        _board = image is null
            ? new PcBoard(specification, _consoles, _engines, _model, this, startAt: 0)
            : new PcBoard(specification, _consoles, _engines, _model, this, image.Board, image.Memory);
        _isContinued = image is not null;
        if (_isContinued && _board.ObstacleTo(engine) is { } obstacle)
        {
            _board.Dispose();
            throw new BadInputException(obstacle);
        }
    }

    /// <summary>Builds the board, loads the boot images and puts the vCPUs at their first instruction; nothing runs yet.</summary>
    /// <param name="specification">What to build.</param>
    /// <param name="engines">Overrides the engine named in the specification, for tests.</param>
    /// <exception cref="BadInputException">The specification or a boot image cannot be used.</exception>
    public static GuestMachine Create(MachineSpecification specification, EngineFactory? engines = null) => new(specification, engines, null);

    public MachineSpecification Specification { get; }

    public MachineStatus Status { get; private set; }

    /// <summary>Ends with the machine. Never faults.</summary>
    public Task<MachineOutcome> Completion => _completion.Task;

    /// <summary>How the kernel was told to start: the name of the boot protocol, for people.</summary>
    public string BootProtocol => Board.BootProtocol;

    /// <summary>One line for people if the engine that was asked for cannot run here and another took over; else null.</summary>
    public string? EngineNote => (Board.Vcpus.Select(v => v.Engine.Shortcoming).FirstOrDefault(s => s is not null) ?? NoTranslator) is { } why
        ? $"the interpreter runs this machine, not the {(EngineName == "interpreter" ? "translator" : EngineName)}: {why}" : null;

    /// <summary>Why the best engine here was the interpreter, if the choice was ours.</summary>
    private string? NoTranslator => _choseEngine && EngineName == "interpreter" ? Cpu.SoftwareVcpu.TranslatorObstacle : null;

    /// <summary>Guest RAM. A reset replaces it.</summary>
    public GuestMemory Memory => Board.Memory;

    private PcBoard Board => _board ?? throw new ObjectDisposedException(nameof(GuestMachine));

    /// <summary>Starts the vCPUs. Once only.</summary>
    /// <param name="paused">They stand before their first instruction until <see cref="Resume"/>.</param>
    public void Start(bool paused = false)
    {
        lock (_lock)
        {
            if (Status != MachineStatus.Created || _end is not null)
                throw new InvalidOperationException("the machine was started before");
            Status = paused ? MachineStatus.Paused : MachineStatus.Running;
            SwitchOn(Board);
            _thread.Start();
        }
    }

    /// <summary>Stops all vCPUs between two instructions and guest time with them; returns when they stand and the disks have what the guest wrote.</summary>
    public void Pause()
    {
        lock (_lock)
        {
            if (Status != MachineStatus.Running)
                return;
            StandStill();
            Board.FlushDisks();
        }
    }

    /// <summary>What <see cref="Pause"/> does, without the disks, which may take long.</summary>
    private void StandStill()
    {
        lock (_lock)
        {
            if (Status != MachineStatus.Running)
                return;
            Status = MachineStatus.Paused;
            foreach (VcpuThread vcpu in Board.Vcpus)
                vcpu.Pause();
            foreach (VcpuThread vcpu in Board.Vcpus)
                vcpu.WaitUntilStanding();
            Board.Stand();
            Board.Trace.Lifecycle("paused");
        }
    }

    public void Resume()
    {
        lock (_lock)
        {
            if (Status != MachineStatus.Paused)
                return;
            Status = MachineStatus.Running;
            Board.Trace.Lifecycle("resumed");
            Board.Run();
            foreach (VcpuThread vcpu in Board.Vcpus)
                vcpu.Resume();
        }
    }

    /// <summary>Ends the machine, as pulling the plug does. The outcome is <see cref="MachineEnd.Stopped"/> unless it had ended already.</summary>
    public void Stop(string reason = "stopped") => End(new MachineOutcome(MachineEnd.Stopped, reason));

    /// <summary>Presses the power button: a guest with ACPI shuts itself down.</summary>
    public void PressPowerButton()
    {
        lock (_lock)
        {
            if (Status is MachineStatus.Running or MachineStatus.Paused)
                Board.PressPowerButton();
        }
    }

    /// <summary>Asks the guest to do without so many bytes of its memory, which go back to the host as it gives them up.</summary>
    /// <exception cref="BadInputException">The machine has no balloon, or less memory.</exception>
    public void SetBalloon(ulong bytes)
    {
        if (bytes > Specification.MemoryBytes)
            throw new BadInputException($"a machine of {Specification.MemoryBytes >> 20} MiB cannot do without {bytes >> 20} MiB");
        lock (_lock)
        {
            if (!Board.TrySetBalloon(bytes))
                throw new BadInputException("the machine has no balloon: start it with --device balloon");
        }
    }

    /// <summary>Sends an NMI to every vCPU.</summary>
    public void SendNmi()
    {
        lock (_lock)
        {
            if (Status is MachineStatus.Running or MachineStatus.Paused)
                Board.SendNmi();
        }
    }

    /// <summary>Resets the machine, as its reset button does.</summary>
    public void Reset() => ((IBoardHost)this).ResetRequested("the user");

    /// <summary>Starts, waits for the end; a cancelled token stops the machine (it does not throw).</summary>
    public async Task<MachineOutcome> RunAsync(CancellationToken cancellation = default)
    {
        using CancellationTokenRegistration registration = cancellation.Register(() => Stop("cancelled"));
        if (Status == MachineStatus.Created && !_completion.Task.IsCompleted)
            Start();
        return await Completion.ConfigureAwait(false);
    }

    public MachineStatistics GetStatistics()
    {
        lock (_lock)
        {
            PcBoard board = Board;
            return new MachineStatistics(
                TimeSpan.FromTicks(board.Clock.Nanoseconds / 100),
                [.. board.Vcpus.Select(v => v.GetStatistics())],
                board.Seam.Report())
            {
                Balloon = board.Balloon,
            };
        }
    }

    /// <summary>A vCPU's state, while the machine is paused or ended (or not started).</summary>
    /// <exception cref="InvalidOperationException">The machine is running.</exception>
    public VcpuState ExportVcpu(int index)
    {
        lock (_lock)
        {
            if (Status == MachineStatus.Running)
                throw new InvalidOperationException("pause the machine first");
            return Board.Vcpus[index].Engine.Export();
        }
    }

    /// <summary>Stops the machine, joins its threads and frees its memory.</summary>
    public void Dispose()
    {
        Stop("disposed");
        if (_thread.IsAlive && Thread.CurrentThread != _thread)
            _thread.Join();
        lock (_lock)
        {
            if (_disposed)
                return;
            _disposed = true;
            _board?.Dispose();
            _board = null;
        }
    }

    void IBoardHost.ResetRequested(string by)
    {
        if (Specification.End.NoReboot)
        {
            End(new MachineOutcome(MachineEnd.Reboot, $"the guest rebooted (reset by {by})"));
            return;
        }
        Volatile.Write(ref _reset, true);
        _board?.Trace.Lifecycle($"reset by {by}");
        Decide();
    }

    void IBoardHost.SleepRequested(int type)
    {
        if (type == MachineConstants.PowerOffSleepType)
            End(new MachineOutcome(MachineEnd.PowerOff, "the guest switched itself off"));
    }

    void IBoardHost.PanicReported() => End(new MachineOutcome(MachineEnd.Panic, "the guest's kernel panicked"));

    void IBoardHost.DebugExitWritten(int code) =>
        End(new MachineOutcome(MachineEnd.DebugExit, string.Create(CultureInfo.InvariantCulture, $"the guest wrote exit status {code}"), code));

    void IVcpuHost.VcpuStopped(int index, StopReason reason)
    {
        string where = "", why = reason.ToString();
        if (_board is { } board && index < board.Vcpus.Count)
        {
            IVcpuEngine engine = board.Vcpus[index].Engine;
            why = engine.Failure ?? why;
            VcpuState state = engine.Export();
            where = string.Create(CultureInfo.InvariantCulture, $" at {state.Segments[SegmentIndex.Cs].Selector:x}:{state.Rip:x}, CR2 {state.Cr2:x}, CR3 {state.Cr3:x}");
        }
        End(reason == StopReason.TripleFault
            ? new MachineOutcome(MachineEnd.TripleFault, $"vCPU {index} shut down after a triple fault{where}")
            : new MachineOutcome(MachineEnd.Failed, $"vCPU {index} stopped: {why}{where}"));
    }

    void IVcpuHost.VcpuUnwakeable(int index)
    {
        if (Specification.End.WhenHaltedForGood && _board is { } board && board.Vcpus.All(v => v.IsUnwakeable))
            End(new MachineOutcome(MachineEnd.Halted, "the guest halted with interrupts off: nothing can wake it"));
    }

    void IVcpuHost.VcpuFailed(int index, Exception fault) =>
        End(new MachineOutcome(MachineEnd.Failed, $"vCPU {index}: the engine failed: {fault.GetType().Name}: {fault.Message} {FirstFrame(fault)}"));

    private static string FirstFrame(Exception fault) => fault.StackTrace?.Split('\n')[0].Trim() ?? "";

    /// <summary>The first end asked for is the one that counts.</summary>
    private void End(MachineOutcome outcome)
    {
        if (Interlocked.CompareExchange(ref _end, outcome, null) is not null)
            return;
        Decide();
        if (Status != MachineStatus.Created)
            return; // also keeps vCPU threads away from the lock, which Pause holds while it waits for them
        lock (_lock)
        {
            // Not started: nobody else will say so.
            if (Status == MachineStatus.Created)
                Finish(outcome);
        }
    }

    /// <summary>Sends the vCPUs home and wakes the machine's thread.</summary>
    private void Decide()
    {
        if (_board is { } board)
        {
            foreach (VcpuThread vcpu in board.Vcpus)
                vcpu.End();
        }
        _decision.Set();
    }

    private void Supervise()
    {
        TimeSpan limit = Specification.End.Timeout ?? Timeout.InfiniteTimeSpan;
        long deadline = limit == Timeout.InfiniteTimeSpan ? long.MaxValue : Environment.TickCount64 + (long)limit.TotalMilliseconds;
        for (; ; )
        {
            long left = deadline - Environment.TickCount64;
            int wait = deadline == long.MaxValue ? Timeout.Infinite : (int)Math.Clamp(left, 0, int.MaxValue);
            if (!_decision.Wait(wait) && deadline - Environment.TickCount64 <= 0)
                End(new MachineOutcome(MachineEnd.TimedOut, string.Create(CultureInfo.InvariantCulture, $"the time limit of {limit.TotalSeconds} s passed")));
            _decision.Reset();
            if (Volatile.Read(ref _end) is null && !Volatile.Read(ref _reset))
                continue;
            foreach (VcpuThread vcpu in Board.Vcpus)
                vcpu.Join();
            if (Volatile.Read(ref _end) is null)
                Reboot();
            if (Volatile.Read(ref _end) is { } outcome)
            {
                lock (_lock)
                    Finish(outcome);
                return;
            }
        }
    }

    private void Reboot()
    {
        if (_isContinued && Specification.Boot is null)
        {
            Interlocked.CompareExchange(ref _end, new MachineOutcome(MachineEnd.Reboot, "the guest rebooted: a restored machine has no kernel to start again"), null);
            return;
        }
        lock (_lock)
        {
            long now = Board.Clock.Nanoseconds;
            Board.Dispose();
            Volatile.Write(ref _reset, false);
            try
            {
                _board = new PcBoard(Specification, _consoles, _engines, _model, this, now);
                SwitchOn(_board);
            }
            catch (Exception fault)
            {
                Interlocked.CompareExchange(ref _end, new MachineOutcome(MachineEnd.Failed, $"the machine could not start again: {fault.Message}"), null);
            }
        }
    }

    private void SwitchOn(PcBoard board)
    {
        foreach (VcpuThread vcpu in board.Vcpus)
            vcpu.TakeOver();
        if (Status == MachineStatus.Running)
            board.Run();
        foreach (VcpuThread vcpu in board.Vcpus)
        {
            if (Status == MachineStatus.Paused)
                vcpu.Pause();
            vcpu.Start();
        }
        board.Trace.Lifecycle("started");
        // An end that came while the board was being built found no vCPU to stop.
        if (Volatile.Read(ref _end) is not null || Volatile.Read(ref _reset))
            Decide();
    }

    private void Finish(MachineOutcome outcome)
    {
        Status = MachineStatus.Ended;
        _board?.Stand();
        _board?.Trace.Lifecycle($"ended: {outcome.Reason}");
        _completion.TrySetResult(outcome);
    }
}
