using Trapline.Core;
using Trapline.Host;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>What a vCPU's thread asks of the machine around it.</summary>
internal interface IVcpuHost
{
    /// <summary>The vCPU cannot go on. It does not return from this before it may end.</summary>
    void VcpuStopped(int index, StopReason reason);

    /// <summary>The vCPU has slept for a while with interrupts off, and perhaps for good.</summary>
    void VcpuUnwakeable(int index);

    /// <summary>The engine broke: a fault of ours.</summary>
    void VcpuFailed(int index, Exception fault);
}

/// <summary>One vCPU and the thread it lives on: runs the engine, sleeps in HLT, stands still when told.</summary>
/// <remarks>
/// Signals come from any thread: they go to the engine first and then wake the sleeper, whose event remembers a wake that comes early,
/// so none is lost. Commands (pause, resume, end) are flags read after every return of the engine.
/// The engine is replaced only while the vCPU stands. A signal goes to the engine under the gate, so it reaches either the one that is exported
/// or the one that has taken over, and never one that is gone. The gate is the innermost lock: engines call nobody back for a signal.
/// </remarks>
internal sealed class VcpuThread : IVcpuSignals, IDisposable
{
    // Longer than any guest waits for an NMI, which is what could still wake a vCPU without interrupts.
    private const long UnwakeableAfter = 2_000_000_000;

    private readonly Lock _gate = new();
    private readonly ParavirtualVcpu _paravirtual;
    private readonly IVcpuHost _host;
    private readonly MachineTrace _trace;
    private readonly Thread _thread;
    private readonly HostEvent _wake = new();
    private readonly ProcessorTurn? _turn;
    private readonly CpuAllowance? _allowance;
    private readonly CpuSpecification _cpu;

    /// <summary>Guards <see cref="_isStanding"/>, <see cref="_hasEnded"/> and the changes of <see cref="_pause"/> and <see cref="_end"/>; pulsed at each.</summary>
    private readonly object _commands = new();
    private bool _isStanding;

    /// <summary>The thread runs no more guest code, whatever it is told.</summary>
    private bool _hasEnded;
    private volatile IVcpuEngine _engine;
    private volatile bool _pause;
    private volatile bool _end;
    private volatile bool _asleep;
    private volatile bool _unwakeable;
    private bool _started;
    private bool _takenOver;
    private Timer? _lookAfterSleep;
    private bool _restJudged;
    private long _restSince, _instructionsAtRest = -1;
    private ulong? _restsAt;
    private EngineCounters _retired;
    private long _haltedNanoseconds, _haltedSince, _halts;

    /// <param name="cpu">How the host is to schedule it.</param>
    /// <param name="share">What gives it a processor; null if it always has one.</param>
    public VcpuThread(int index, IVcpuEngine engine, ParavirtualVcpu paravirtual, IVcpuHost host, MachineTrace trace, CpuSpecification cpu, ProcessorShare? share = null)
    {
        _cpu = cpu;
        if (cpu.CapPercent is { } percent and < 100)
            _allowance = new CpuAllowance(percent, KickEngine);
        if (share != null)
        {
            _turn = new ProcessorTurn(share, KickEngine);
            engine.ReportsSpinning = true;
        }
        (Index, _engine, _paravirtual, _host, _trace) = (index, engine, paravirtual, host, trace);
        paravirtual.Kicked = WakeFromHalt;
        // Engines recurse little, but a guest's work must never meet a small stack.
        _thread = new Thread(Live, 4 << 20) { IsBackground = true, Name = $"vcpu{index}" };
    }

    public int Index { get; }

    /// <summary>The engine; its state is the vCPU's own thread's while that runs.</summary>
    public IVcpuEngine Engine => _engine;

    /// <summary>Asleep for a while with interrupts off, or never started by its siblings.</summary>
    public bool IsUnwakeable => _unwakeable;

    public bool IsCurrentThread => Thread.CurrentThread == _thread;

    /// <summary>The engine begins to run the vCPU, all of the machine's before any starts: they send each other messages.</summary>
    public void TakeOver()
    {
        _takenOver = true;
        _engine.TakeOver();
        LookAfterSleep();
    }

    public void Start()
    {
        _started = true;
        _thread.Start();
    }

    /// <summary>Asks the vCPU to stand; <see cref="WaitUntilStanding"/> says when it does.</summary>
    public void Pause()
    {
        lock (_commands)
            _pause = true;
        Interrupt();
    }

    /// <summary>Waits until the vCPU stands or its thread is about to end.</summary>
    public void WaitUntilStanding()
    {
        lock (_commands)
        {
            while (!_isStanding && !_hasEnded)
                Monitor.Wait(_commands);
        }
    }

    public void Resume()
    {
        lock (_commands)
        {
            _isStanding = _pause = false;
            Monitor.PulseAll(_commands);
        }
    }

    /// <summary>Tells the thread to end. Does not wait.</summary>
    public void End()
    {
        lock (_commands)
        {
            _end = true;
            Monitor.PulseAll(_commands);
        }
        Interrupt();
    }

    public void Join()
    {
        if (_started && !IsCurrentThread)
            _thread.Join();
    }

    /// <summary>Gives the vCPU's state to another engine. The vCPU stands, or was not started.</summary>
    /// <returns>The engine before, which the caller disposes; what it counted stays in the statistics.</returns>
    /// <exception cref="ArgumentException">The new engine cannot take the state; the old one goes on.</exception>
    public IVcpuEngine Replace(IVcpuEngine successor)
    {
        lock (_gate)
        {
            IVcpuEngine before = _engine;
            VcpuState state = before.Export();
            before.GiveBack();
            try
            {
                successor.Import(state);
            }
            catch
            {
                if (_takenOver)
                    before.TakeOver();
                throw;
            }
            if (_takenOver)
                successor.TakeOver();
            successor.ReportsSpinning = _turn != null;
            _retired = Sum(_retired, before.Counters);
            _instructionsAtRest = -1;
            _engine = successor;
            LookAfterSleep();
            return before;
        }
    }

    public void InterruptPending()
    {
        lock (_gate)
            _engine.InterruptPending();
        WakeFromHalt();
    }

    public void NonMaskableInterrupt()
    {
        _trace.Interrupt(Index, "NMI", 2);
        lock (_gate)
            _engine.NonMaskableInterrupt();
        WakeFromHalt();
    }

    public void Init()
    {
        _trace.Interrupt(Index, "INIT", 0);
        _paravirtual.Reset();
        lock (_gate)
            _engine.Init();
        WakeFromHalt();
    }

    public void StartUp(byte vector)
    {
        _trace.Interrupt(Index, "SIPI", vector);
        lock (_gate)
            _engine.StartUp(vector);
        WakeFromHalt();
    }

    public VcpuStatistics GetStatistics()
    {
        long halted = Volatile.Read(ref _haltedNanoseconds);
        long since = Volatile.Read(ref _haltedSince);
        if (since != 0)
            halted += HostTime.Nanoseconds - since;
        lock (_gate)
        {
            return new VcpuStatistics(
                Index, Sum(_retired, _engine.Counters), _engine.SeesEverything, _engine.Details, _engine.Times, TimeSpan.FromTicks(halted / 100), Volatile.Read(ref _halts));
        }
    }

    private static EngineCounters Sum(EngineCounters a, EngineCounters b) => new(
        a.Instructions + b.Instructions, a.TlbHitsSecondLevel + b.TlbHitsSecondLevel, a.PageWalks + b.PageWalks, a.PageFaults + b.PageFaults,
        a.Exceptions + b.Exceptions, a.Interrupts + b.Interrupts, a.BlocksDecoded + b.BlocksDecoded, a.CodeInvalidations + b.CodeInvalidations);

    /// <summary>Ends and joins the thread, then disposes the engine.</summary>
    public void Dispose()
    {
        End();
        Join();
        _allowance?.Dispose();
        _lookAfterSleep?.End();
        _engine.Dispose();
    }

    private void Interrupt()
    {
        KickEngine();
        _wake.Set();
        _turn?.CallAway();
    }

    private void KickEngine()
    {
        lock (_gate)
            _engine.Kick();
    }

    private void WakeFromHalt()
    {
        // Pairs with the fence in Sleep: either the sleeper sees the engine's new work, or this sees the sleeper.
        Interlocked.MemoryBarrier();
        if (_asleep)
            _wake.Set();
    }

    private void Live()
    {
        HostTime.MakeThisThreadPunctual();
        try
        {
            VcpuPlacement.Apply(_cpu, Index);
            bool woken = false;
            while (!_end)
            {
                if (_pause)
                {
                    _turn?.Leave();
                    Stand();
                    continue;
                }
                if (_allowance?.Begin() is > 0 and var when)
                {
                    _turn?.Leave();
                    WaitForAllowance(when);
                    continue;
                }
                // Where the kernel knows when a vCPU sleeps, its scheduler does this better.
                if (_turn != null && !_engine.HaltsInside && !_turn.TryTake(woken) && !WaitForTurn(_turn))
                    continue;
                woken = false;
                StopReason stopped = _engine.Run();
                _allowance?.End();
                switch (stopped)
                {
                    case StopReason.Kicked:
                        if (_engine.HaltsInside)
                            JudgeSleepInside();
                        break;
                    case StopReason.Spinning:
                        _turn?.Yield();
                        break;
                    case StopReason.Halted or StopReason.WaitingForStartUp:
                        _turn?.Leave();
                        Sleep();
                        woken = true;
                        break;
                    default:
                        _turn?.Leave();
                        _host.VcpuStopped(Index, stopped);
                        break;
                }
            }
        }
        catch (Exception fault)
        {
            _host.VcpuFailed(Index, fault);
        }
        finally
        {
            _turn?.Leave();
            lock (_commands)
            {
                _hasEnded = true;
                Monitor.PulseAll(_commands);
            }
        }
    }

    /// <summary>Ready to run, without a processor: time that is stolen from the guest, which may know.</summary>
    private bool WaitForTurn(ProcessorTurn turn)
    {
        long since = HostTime.Nanoseconds;
        _paravirtual.LoseProcessor(_engine);
        bool got = turn.Wait();
        _paravirtual.RegainProcessor(_engine, HostTime.Nanoseconds - since);
        return got;
    }

    /// <summary>Ready to run, and over its cap.</summary>
    private void WaitForAllowance(long until)
    {
        long since = HostTime.Nanoseconds;
        _paravirtual.LoseProcessor(_engine);
        while (!_pause && !_end && _wake.WaitUntil(until))
        {
        }
        _paravirtual.RegainProcessor(_engine, HostTime.Nanoseconds - since);
    }

    private void Sleep()
    {
        _halts++;
        Volatile.Write(ref _haltedSince, HostTime.Nanoseconds);
        _paravirtual.FallAsleep(_engine);
        _asleep = true;
        Interlocked.MemoryBarrier();
        // An interrupt that is held off ends this sleep but not the guest's: what counts is that it ran an instruction.
        long instructions = _engine.Counters.Instructions;
        if (instructions != _instructionsAtRest)
        {
            _instructionsAtRest = instructions;
            _restSince = HostTime.Nanoseconds;
            _restJudged = _unwakeable = false;
        }
        while (!_engine.HasWork && !_paravirtual.IsUnhalted && !_pause && !_end)
        {
            if (_restJudged)
                _wake.Wait();
            else if (!_wake.WaitUntil(_restSince + UnwakeableAfter))
                JudgeRest();
        }
        _asleep = false;
        _paravirtual.WakeUp(_engine);
        Volatile.Write(ref _haltedNanoseconds, _haltedNanoseconds + HostTime.Nanoseconds - _haltedSince);
        Volatile.Write(ref _haltedSince, 0);
    }

    private void JudgeRest()
    {
        _restJudged = true;
        _unwakeable = (_engine.Export().Rflags & Rflags.If) == 0;
        if (_unwakeable)
            _host.VcpuUnwakeable(Index);
    }

    /// <summary>An engine that has vCPUs sleep inside does not say so: it is asked now and then.</summary>
    private void LookAfterSleep()
    {
        if (!_engine.HaltsInside)
            return;
        TimeSpan period = TimeSpan.FromTicks(UnwakeableAfter / 100);
        _lookAfterSleep ??= new Timer(_ => KickEngine(), null, period, period);
    }

    /// <summary>It came back because somebody called. If it sleeps where it slept long ago, perhaps it does so for good.</summary>
    private void JudgeSleepInside()
    {
        long now = HostTime.Nanoseconds;
        if (now - _restSince < UnwakeableAfter)
            return;
        VcpuState state = _engine.Export();
        bool rests = state.Activity == VcpuActivity.WaitingForStartUp || (state.Activity == VcpuActivity.Halted && (state.Rflags & Rflags.If) == 0);
        _unwakeable = rests && state.Rip == _restsAt;
        (_restsAt, _restSince) = (rests ? state.Rip : null, now);
        if (_unwakeable)
            _host.VcpuUnwakeable(Index);
    }

    private void Stand()
    {
        lock (_commands)
        {
            // Woken late, it may find that it is to stand again: it did not run in between, and says so anew.
            while (_pause && !_end)
            {
                _isStanding = true;
                Monitor.PulseAll(_commands);
                Monitor.Wait(_commands);
            }
        }
    }
}
