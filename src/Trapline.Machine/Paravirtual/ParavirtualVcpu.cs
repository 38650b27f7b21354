using Trapline.Core;
using Trapline.Devices.InterruptControllers;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>State of one vCPU's side of KVM's interface.</summary>
/// <param name="Unhalted">It was kicked while it did not halt: its next HLT does not wait.</param>
[SavedState("kvm-interface", 1)]
internal sealed record ParavirtualState(ulong WallClock, ulong SystemTime, ulong StealTime, ulong PvEoi, ulong PollControl, ulong TimeStampOffset, bool Unhalted);

/// <summary>One vCPU's side of KVM's interface: its MSRs (Linux, Documentation/virt/kvm/x86/msr.rst), and being kicked out of HLT.</summary>
/// <remarks>
/// MSRs belong to the vCPU's own thread; <see cref="Reset"/> and <see cref="Unhalt"/> come from any thread and touch single words. Pages are written when
/// their MSR is, and what a guest gives for an address is looked up anew each time: it may be anything.
/// There are no asynchronous page faults: what is not in the host's memory is fetched by the host's kernel inside the vCPU's thread, which learns neither
/// of the fault nor of its end.
/// </remarks>
internal sealed class ParavirtualVcpu(CpuModel model, GuestMemory memory, GuestClock clock, LocalApic apic) : ISavedDevice<ParavirtualState>, IDisposable
{
    private const ulong Enable = 1;

    private readonly StealTime _steal = new(memory);
    private ulong _wallClock, _systemTime, _timeStampOffset;
    private ulong _pollControl = Enable;
    private int _unhalted;
    private volatile bool _asleep;

    /// <summary>Called from any thread when the vCPU was kicked.</summary>
    public Action? Kicked { get; set; }

    /// <summary>It sleeps in HLT (or was not started).</summary>
    public bool IsAsleep => _asleep;

    /// <summary>It was kicked, and has not left a HLT since.</summary>
    public bool IsUnhalted => Volatile.Read(ref _unhalted) != 0;

    /// <summary>The guest uses KVM's interface on this vCPU.</summary>
    public bool IsUsed => ((Volatile.Read(ref _systemTime) | _steal.Value | apic.ParavirtualEoi) & Enable) != 0;

    /// <summary>The vCPU's own counter is the machine's and this.</summary>
    public ulong TimeStampOffset => _timeStampOffset;

    public static bool Owns(uint index) => index is Msr.KvmWallClockOld or Msr.KvmSystemTimeOld or (>= Msr.KvmFirst and <= Msr.KvmLast);

    /// <summary>Interrupts on their way to this vCPU.</summary>
    public IInterruptSource Watch(IInterruptSource source) => model.Has(Feature.KvmStealTime) ? new StealAccounting(source, _steal) : source;

    /// <summary>RDMSR; false means #GP.</summary>
    public bool TryRead(uint index, out ulong value)
    {
        value = index switch
        {
            Msr.KvmWallClock or Msr.KvmWallClockOld => _wallClock,
            Msr.KvmSystemTime or Msr.KvmSystemTimeOld => Volatile.Read(ref _systemTime),
            Msr.KvmStealTime => _steal.Value,
            Msr.KvmPvEoi => apic.ParavirtualEoi,
            Msr.KvmPollControl => _pollControl,
            _ => 0,
        };
        return model.Has(FeatureOf(index));
    }

    /// <summary>WRMSR; false means #GP.</summary>
    public bool TryWrite(uint index, ulong value)
    {
        if (!model.Has(FeatureOf(index)))
            return false;
        switch (index)
        {
            case Msr.KvmWallClock or Msr.KvmWallClockOld:
                _wallClock = value;
                PvClock.WriteWallClock(memory, value, clock.UtcNow, clock.Nanoseconds);
                return true;
            case Msr.KvmSystemTime or Msr.KvmSystemTimeOld:
                Volatile.Write(ref _systemTime, value);
                WriteSystemTime();
                return true;
            case Msr.KvmStealTime:
                if (!_steal.TrySet(value))
                    return false;
                _steal.Update();
                return true;
            case Msr.KvmPvEoi:
                return apic.TrySetParavirtualEoi(value);
            default: // whether the host may poll before it sleeps; it does not
                if (value > 1)
                    return false;
                _pollControl = value;
                return true;
        }
    }

    /// <summary>The guest moved this vCPU's counter, or state with another was imported.</summary>
    public void TimeStampOffsetChanged(ulong offset)
    {
        if (offset == _timeStampOffset)
            return;
        _timeStampOffset = offset;
        WriteSystemTime();
    }

    /// <summary>INIT: nothing is written for a vCPU that begins anew.</summary>
    public void Reset()
    {
        Volatile.Write(ref _systemTime, 0);
        _steal.Restore(0);
        Volatile.Write(ref _unhalted, 0);
    }

    /// <summary>KVM_HC_KICK_CPU: it leaves its HLT, or does not wait in its next one.</summary>
    public void Unhalt()
    {
        Volatile.Write(ref _unhalted, 1);
        Kicked?.Invoke();
    }

    /// <summary>The vCPU is ready to run, and waits for a processor of the host.</summary>
    public void LoseProcessor(IVcpuEngine engine)
    {
        if (engine is IParavirtualEngine)
            _steal.Leave();
    }

    /// <summary>It runs again.</summary>
    /// <param name="stolen">Nanoseconds that it waited.</param>
    public void RegainProcessor(IVcpuEngine engine, long stolen)
    {
        _steal.Add(stolen);
        if (_steal.Return() && engine is IParavirtualEngine able && model.Has(Feature.KvmPvTlbFlush))
            able.FlushTranslations();
    }

    /// <summary>The vCPU's thread goes to sleep.</summary>
    public void FallAsleep(IVcpuEngine engine)
    {
        // Nobody may leave a TLB flush for an engine that could not do it.
        if (engine is IParavirtualEngine)
            _steal.Leave();
        _asleep = true;
    }

    /// <summary>The vCPU's thread is about to run the engine again.</summary>
    public void WakeUp(IVcpuEngine engine)
    {
        _asleep = false;
        bool flush = _steal.Return();
        bool leave = Interlocked.Exchange(ref _unhalted, 0) != 0;
        if (engine is not IParavirtualEngine able)
            return;
        if (flush && model.Has(Feature.KvmPvTlbFlush))
            able.FlushTranslations();
        if (leave)
            able.LeaveHalt();
    }

    public ParavirtualState Save() => new(_wallClock, _systemTime, _steal.Value, apic.ParavirtualEoi, _pollControl, _timeStampOffset, IsUnhalted);

    public void Restore(ParavirtualState state)
    {
        (_wallClock, _systemTime, _pollControl, _timeStampOffset) = (state.WallClock, state.SystemTime, state.PollControl, state.TimeStampOffset);
        _steal.Restore(state.StealTime);
        _unhalted = state.Unhalted ? 1 : 0;
        apic.TrySetParavirtualEoi(state.PvEoi);
    }

    public void Dispose() => _steal.Dispose();

    private void WriteSystemTime()
    {
        ulong value = Volatile.Read(ref _systemTime);
        if ((value & Enable) != 0)
            PvClock.WriteSystemTime(memory, value & ~Enable, _timeStampOffset, model.Has(Feature.KvmClockStable));
    }

    /// <summary>The feature that an MSR belongs to; for one that is not known, a feature that no model has.</summary>
    private static Feature FeatureOf(uint index) => index switch
    {
        Msr.KvmWallClock or Msr.KvmWallClockOld or Msr.KvmSystemTime or Msr.KvmSystemTimeOld => Feature.KvmClock,
        Msr.KvmStealTime => Feature.KvmStealTime,
        Msr.KvmPvEoi => Feature.KvmPvEoi,
        Msr.KvmPollControl => Feature.KvmPollControl,
        _ => Feature.La57,
    };
}
