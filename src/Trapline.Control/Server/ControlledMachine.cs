using System.Diagnostics;
using System.Text.Json;
using Trapline.Agent;
using Trapline.Control.Api;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Control.Server;

/// <summary>A machine with a name, and what may be asked of it from outside.</summary>
/// <remarks>
/// Calls into the machine may wait for its vCPUs, and a vCPU may wait for a stream that nobody reads. So they run on threads of their own, one at a
/// time for each machine, and a client that gives up leaves nothing behind but the call that it made. A forced stop waits for nobody.
/// </remarks>
/// <param name="name">Its name.</param>
/// <param name="machine">The caller owns it.</param>
/// <param name="programs">Runs programs in its guest; null if it does not do that.</param>
/// <param name="fork">Makes clones of it.</param>
public sealed class ControlledMachine(string name, VirtualMachine machine, IGuestPrograms? programs, Func<ForkRequest, IReadOnlyList<MachineInfo>> fork)
{
    /// <summary>How long a request waits for the one before it.</summary>
    private static readonly TimeSpan TurnPatience = TimeSpan.FromSeconds(10);

    /// <summary>Programs for others at once: the guest's own has a place too.</summary>
    private const int Seats = Frame.MaximumPrograms - 1;

    private readonly long _made = Stopwatch.GetTimestamp();
    private readonly SemaphoreSlim _turn = new(1);
    private int _seatsTaken;

    public string Name => name;

    public MachineInfo Describe() => new()
    {
        Name = name,
        State = machine.Status switch
        {
            MachineStatus.Created => MachineState.Created,
            MachineStatus.Running => MachineState.Running,
            MachineStatus.Paused => MachineState.Paused,
            _ => MachineState.Ended,
        },
        Engine = machine.EngineName,
        UptimeSeconds = Stopwatch.GetElapsedTime(_made).TotalSeconds,
        MemoryBytes = machine.Specification.MemoryBytes,
        Vcpus = machine.Specification.Cpu.Count,
        Pid = Environment.ProcessId,
        Executes = programs != null,
    };

    /// <summary>Claims the guest for one program.</summary>
    /// <exception cref="RefusedException">It runs none, or as many as it can, or has ended.</exception>
    internal async Task<ExecSeat> TakeSeatAsync(CancellationToken cancellation)
    {
        if (programs == null)
            throw new RefusedException(409, $"machine '{name}' has no agent: only the default guest runs programs");
        if (!await programs.Ready.WaitAsync(cancellation).ConfigureAwait(false))
            throw RefusedException.Ended(name);
        if (Interlocked.Increment(ref _seatsTaken) <= Seats)
            return new ExecSeat(programs, () => Interlocked.Decrement(ref _seatsTaken));
        Interlocked.Decrement(ref _seatsTaken);
        throw new RefusedException(409, $"machine '{name}' runs {Seats} programs already, and no more at once: try again when one has ended");
    }

    public Task<MachineInfo> PauseAsync(CancellationToken cancellation) => Switch(machine.Pause, cancellation);

    public Task<MachineInfo> ResumeAsync(CancellationToken cancellation) => Switch(machine.Resume, cancellation);

    public Task<MachineInfo> ResetAsync(CancellationToken cancellation) => Switch(machine.Reset, cancellation);

    public Task<MachineInfo> PressPowerButtonAsync(CancellationToken cancellation) => Switch(machine.PressPowerButton, cancellation);

    public Task<MachineInfo> SendNmiAsync(CancellationToken cancellation) => Switch(machine.SendNmi, cancellation);

    public Task<MachineReport> ReportAsync(CancellationToken cancellation) => InTurn(() => Report(machine.Statistics), cancellation);

    /// <summary>Has another engine run the machine; the guest does not notice.</summary>
    public Task<EngineSwitched> SwitchEngineAsync(EngineRequest request, CancellationToken cancellation) => InTurn(() =>
    {
        TimeSpan pause = machine.SwitchEngineAsync(Engines.Choose(request.Engine).Name).GetAwaiter().GetResult();
        return new EngineSwitched { Engine = machine.EngineName, PauseSeconds = pause.TotalSeconds };
    }, cancellation);

    /// <summary>Asks the guest to do without memory; the answer does not wait for it.</summary>
    public Task<BalloonReport> SetBalloonAsync(BalloonRequest request, CancellationToken cancellation) => InTurn(() =>
    {
        if (machine.Status == MachineStatus.Ended)
            throw RefusedException.Ended(name);
        machine.SetBalloon(request.Bytes);
        return Report(machine.Statistics).Balloon!;
    }, cancellation);

    /// <summary>Saves the machine to a file, and goes on with that should the client give up.</summary>
    public Task<MachineSaved> SaveAsync(SaveRequest request, CancellationToken cancellation) => InTurn(() =>
    {
        if (!Path.IsPathRooted(request.Path))
            throw new BadInputException($"path '{request.Path}' is not absolute: the machine's process has a folder of its own");
        TimeSpan pause = machine.SaveAsync(request.Path).GetAwaiter().GetResult();
        return new MachineSaved { Path = request.Path, PauseSeconds = pause.TotalSeconds };
    }, cancellation);

    /// <summary>Makes clones of the machine, and goes on with that should the client give up.</summary>
    public Task<MachineList> ForkAsync(ForkRequest request, CancellationToken cancellation) =>
        InTurn(() => new MachineList { Machines = fork(request) }, cancellation);

    /// <summary>Ends the machine, and goes on with that should the client give up.</summary>
    public async Task<MachineEnded> StopAsync(StopRequest request, CancellationToken cancellation)
    {
        MachineOutcome outcome = await EndAsync(request).WaitAsync(cancellation).ConfigureAwait(false);
        return new MachineEnded { End = Word(outcome.End), Reason = outcome.Reason };
    }

    private async Task<MachineOutcome> EndAsync(StopRequest request)
    {
        if (request.Force || machine.Status == MachineStatus.Created)
        {
            // Not on this thread: the machine's lock may be held by one that waits.
            await Task.Run(() => machine.Stop("trapline stop --force asked for it")).ConfigureAwait(false);
            return await machine.OutcomeAsync().ConfigureAwait(false);
        }
        // A guest that stands cannot switch itself off.
        if (machine.Status == MachineStatus.Paused)
            await InTurn(machine.Resume, CancellationToken.None).ConfigureAwait(false);
        return await machine.PowerOffAsync(TimeSpan.FromSeconds(request.PatienceSeconds)).ConfigureAwait(false);
    }

    private Task<MachineInfo> Switch(Action change, CancellationToken cancellation) => InTurn(() =>
    {
        if (machine.Status == MachineStatus.Ended)
            throw RefusedException.Ended(name);
        change();
        return Describe();
    }, cancellation);

    private Task InTurn(Action work, CancellationToken cancellation) => InTurn(() =>
    {
        work();
        return true;
    }, cancellation);

    private async Task<T> InTurn<T>(Func<T> work, CancellationToken cancellation)
    {
        if (!await _turn.WaitAsync(TurnPatience, cancellation).ConfigureAwait(false))
            throw new RefusedException(503, $"machine '{name}' is still busy with an earlier request: try again, or stop it with --force");
        Task<T> running = Task.Run(() =>
        {
            try
            {
                return work();
            }
            catch (Exception e) when (e is ObjectDisposedException or InvalidOperationException)
            {
                throw machine.Status == MachineStatus.Ended ? RefusedException.Ended(name) : new RefusedException(409, $"machine '{name}': {e.Message}");
            }
            finally
            {
                _turn.Release();
            }
        }, CancellationToken.None);
        return await running.WaitAsync(cancellation).ConfigureAwait(false);
    }

    private static MachineReport Report(MachineStatistics statistics) => new()
    {
        GuestSeconds = statistics.GuestTime.TotalSeconds,
        Vcpus =
        [
            .. statistics.Vcpus.Select(v => new VcpuReport
            {
                Index = v.Index,
                SeesEverything = v.SeesEverything,
                Instructions = v.Counters.Instructions,
                PageWalks = v.Counters.PageWalks,
                PageFaults = v.Counters.PageFaults,
                Exceptions = v.Counters.Exceptions,
                Interrupts = v.Counters.Interrupts,
                Halts = v.Halts,
                HaltedSeconds = v.Halted.TotalSeconds,
            }),
        ],
        Exits =
        [
            .. statistics.Exits.Select(e => new ExitReport
            {
                Kind = Word(e.Kind),
                Target = e.Target,
                Count = e.Count,
                Seconds = e.Time.TotalSeconds,
            }),
        ],
        Balloon = statistics.Balloon is { } balloon
            ? new BalloonReport { TargetBytes = balloon.Target, ActualBytes = balloon.Actual, ReleasedBytes = balloon.Released }
            : null,
    };

    private static string Word<T>(T value) where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
