using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;

namespace Trapline.Machine;

/// <summary>One vCPU's struct kvm_steal_time: how long it was ready while the host ran others, and whether it runs now (msr.rst, MSR_KVM_STEAL_TIME).</summary>
/// <remarks>
/// The structure is 64 bytes and aligned, so it crosses no page; where it is not RAM nothing is written, as under KVM. Time is added to what memory says, so
/// a restored guest's account goes on. All but <see cref="Value"/> belongs to the vCPU's own thread.
/// </remarks>
internal sealed class StealTime(GuestMemory memory) : IDisposable
{
    private const ulong Enable = 1;
    private const ulong Reserved = 0x3E;
    private const int VersionAt = 8, AccountLength = 12, PreemptedAt = 16;
    private const byte Preempted = 1, FlushTlb = 2; // KVM_VCPU_PREEMPTED, KVM_VCPU_FLUSH_TLB

    /// <summary>Linux looks once in each tick, of which there are at most 1,000 a second. Nanoseconds.</summary>
    private const long ShortestInterval = 1_000_000;

    private ulong _value;
    private ThreadRunDelay? _delay;
    private long _counted, _countedAt;

    /// <summary>What was waited for by the machine's own arrangement, which the host does not count, and is not told yet.</summary>
    private long _waited;

    /// <summary>The MSR.</summary>
    public ulong Value => Volatile.Read(ref _value);

    private bool IsEnabled => (Value & Enable) != 0;

    private Gpa Address => new(Value & ~(Enable | Reserved));

    /// <summary>False: #GP.</summary>
    public bool TrySet(ulong value)
    {
        if ((value & Reserved) != 0)
            return false;
        Volatile.Write(ref _value, value);
        return true;
    }

    /// <summary>The MSR as it was saved, or off.</summary>
    public void Restore(ulong value) => Volatile.Write(ref _value, value);

    /// <summary>Adds what was stolen since the last time, unless that was just now.</summary>
    public void Update()
    {
        if (!IsEnabled)
            return;
        long now = HostTime.Nanoseconds;
        if (_delay is not null && now - _countedAt < ShortestInterval)
            return;
        _countedAt = now;
        if (_delay is null)
        {
            _delay = new ThreadRunDelay();
            _counted = _delay.Nanoseconds;
        }
        long delay = _delay.Nanoseconds;
        long stolen = delay - _counted + _waited;
        Span<byte> account = stackalloc byte[AccountLength];
        if (!memory.TryRead(Address, account))
            return;
        uint version = (BinaryPrimitives.ReadUInt32LittleEndian(account[VersionAt..]) + 1) | 1;
        BinaryPrimitives.WriteUInt64LittleEndian(account, BinaryPrimitives.ReadUInt64LittleEndian(account) + (ulong)stolen);
        BinaryPrimitives.WriteUInt32LittleEndian(account[VersionAt..], version);
        if (PvClock.WriteVersioned(memory, Address, account, VersionAt, version))
            (_counted, _waited) = (delay, 0);
    }

    /// <summary>The vCPU waited for a processor that the machine gave to a sibling.</summary>
    /// <param name="nanoseconds">How long.</param>
    public void Add(long nanoseconds) => _waited += nanoseconds;

    /// <summary>The vCPU stops running: others need not wait for it, and may leave it a TLB flush instead of an interrupt.</summary>
    public void Leave()
    {
        if (IsEnabled)
            memory.TryExchange(Address + PreemptedAt, Preempted, out _);
    }

    /// <summary>The vCPU is about to run again. True: it has to flush its TLB first.</summary>
    public bool Return()
    {
        if (!IsEnabled || !memory.TryExchange(Address + PreemptedAt, 0, out byte left))
            return false;
        Update();
        return (left & FlushTlb) != 0;
    }

    public void Dispose() => _delay?.Dispose();
}

/// <summary>Brings the account of stolen time up to date when an interrupt, which may be the guest's tick, is taken.</summary>
internal sealed class StealAccounting(IInterruptSource source, StealTime steal) : IInterruptSource
{
    public bool Pending => source.Pending;

    public int Acknowledge()
    {
        steal.Update();
        return source.Acknowledge();
    }
}
