using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Devices.InterruptControllers;
using Trapline.Host;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine.Tests;

/// <summary>KVM's MSRs and hypercalls by themselves: what lands in guest memory, and what a hostile guest gets.</summary>
public sealed class ParavirtualTests : IDisposable
{
    private const ulong Page = 0x4000, Hole = 0x7000_0000, Enable = 1;
    private const int Vcpus = 3;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);
    private readonly GuestClock _clock = new(startAt: 5_000_000_000);
    private readonly ApicBus _bus = new();
    private readonly LocalApic[] _apics;

    public ParavirtualTests()
    {
        _apics = [.. Enumerable.Range(0, Vcpus).Select(i => new LocalApic(_bus, (uint)i, i == 0, _clock, () => _clock.TimeStampCounter, t => (long)t))];
        foreach (LocalApic apic in _apics)
        {
            apic.Connect(_memory);
            apic.WriteMmio(0xF0, 4, 0x1FF);
        }
    }

    public void Dispose()
    {
        foreach (LocalApic apic in _apics)
            apic.Dispose();
        _clock.Dispose();
        _memory.Dispose();
    }

    private ParavirtualVcpu Vcpu(string model = "max", int index = 0) => new(CpuModel.Parse(model, out _)!, _memory, _clock, _apics[index]);

    private byte[] Read(ulong address, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_memory.TryRead(new Gpa(address), bytes));
        return bytes;
    }

    private uint Word(ulong address) => BinaryPrimitives.ReadUInt32LittleEndian(Read(address, 4));

    private ulong Long(ulong address) => BinaryPrimitives.ReadUInt64LittleEndian(Read(address, 8));

    /// <summary>What a guest makes of its page at a value of its counter (pvclock.h).</summary>
    private ulong SystemTime(ulong page, ulong counter)
    {
        ulong delta = counter - Long(page + 8);
        sbyte shift = (sbyte)Read(page + 28, 1)[0];
        delta = shift < 0 ? delta >> -shift : delta << shift;
        return Long(page + 16) + (ulong)((UInt128)delta * Word(page + 24) >> 32);
    }

    [Theory]
    [InlineData(Msr.KvmSystemTime)]
    [InlineData(Msr.KvmSystemTimeOld)]
    public void TheSystemTimeIsTheMachines(uint index)
    {
        using ParavirtualVcpu vcpu = Vcpu();
        Assert.True(vcpu.TryWrite(index, Page | Enable));
        Assert.True(vcpu.TryRead(index, out ulong back));
        Assert.Equal(Page | Enable, back);
        Assert.Equal(2u, Word(Page));
        Assert.Equal(1, Read(Page + 29, 1)[0]); // PVCLOCK_TSC_STABLE_BIT
        Assert.Equal(5_000_000_000ul, SystemTime(Page, _clock.TimeStampCounter));
        vcpu.TimeStampOffsetChanged(unchecked((ulong)-4_000_000_000)); // the guest wrote its counter
        Assert.Equal(4u, Word(Page));
        Assert.Equal(5_000_000_000ul, SystemTime(Page, _clock.TimeStampCounter - 4_000_000_000));
        vcpu.TryWrite(index, Page); // off: the page is the guest's again
        vcpu.TimeStampOffsetChanged(0);
        Assert.Equal(4u, Word(Page));
    }

    [Theory]
    [InlineData(1_000_000_000ul, 0x8000_0000u, 1)]
    [InlineData(2_000_000_000ul, 0x8000_0000u, 0)]
    [InlineData(3_000_000_000ul, 0xAAAA_AAAAu, -1)]
    [InlineData(250_000_000ul, 0x8000_0000u, 3)]
    public void ScalesKeepAllBits(ulong hertz, uint multiplier, int shift) => Assert.Equal((multiplier, (sbyte)shift), PvClock.ScaleOf(hertz));

    [Fact]
    public void TheSystemTimeStandsWithTheMachine()
    {
        using ParavirtualVcpu vcpu = Vcpu();
        vcpu.TryWrite(Msr.KvmSystemTime, Page | Enable);
        for (int round = 0; round < 3; round++)
        {
            _clock.Run();
            PassTime();
            _clock.Stand();
            ulong at = SystemTime(Page, _clock.TimeStampCounter);
            Assert.Equal((ulong)_clock.Nanoseconds, at);
            PassTime();
            Assert.Equal(at, SystemTime(Page, _clock.TimeStampCounter));
        }
        Assert.Equal(2u, Word(Page)); // written once
    }

    [Fact]
    public void TheStableBitIsAFeature()
    {
        using ParavirtualVcpu vcpu = Vcpu("max,-kvmclock-stable-bit");
        vcpu.TryWrite(Msr.KvmSystemTime, Page | Enable);
        Assert.Equal(0, Read(Page + 29, 1)[0]);
    }

    [Fact]
    public void WallClockAndSystemTimeMakeTheTimeOfDay()
    {
        using ParavirtualVcpu vcpu = Vcpu();
        _memory.TryWrite(new Gpa(Page + 2), [7, 0, 0, 0]); // an odd version, and across the structure's alignment
        Assert.True(vcpu.TryWrite(Msr.KvmWallClock, Page + 2));
        Assert.Equal(10u, Word(Page + 2)); // 9 while it was written
        DateTime boot = DateTime.UnixEpoch.AddSeconds(Word(Page + 6)).AddTicks(Word(Page + 10) / 100);
        Assert.InRange((boot.AddSeconds(5) - DateTime.UtcNow).TotalSeconds, -2, 2);
    }

    /// <summary>KVM takes any address there and writes where it can (arch/x86/kvm: a page that cannot be had, or would be crossed, is skipped).</summary>
    [Theory]
    [InlineData(Hole)]
    [InlineData(0xFEE0_0000)] // MMIO
    [InlineData(0x10_0000 - 4)] // ends behind RAM
    [InlineData(Page - 4)] // crosses a page
    [InlineData(0xFFFF_FFFF_FFFF_FFFE)]
    public void ClocksInBadPlacesAreNotWritten(ulong address)
    {
        using ParavirtualVcpu vcpu = Vcpu();
        foreach (uint index in new[] { Msr.KvmSystemTime, Msr.KvmSystemTimeOld })
            Assert.True(vcpu.TryWrite(index, (address & ~1ul) | Enable));
        if (address != Page - 4) // a wall clock may cross
            Assert.True(vcpu.TryWrite(Msr.KvmWallClock, address));
        vcpu.TimeStampOffsetChanged(77);
        Assert.All(Read(0, 1 << 20), b => Assert.Equal(0, b));
    }

    [Fact]
    public void ReservedBitsAndUnknownRegistersAreRefused()
    {
        using ParavirtualVcpu vcpu = Vcpu();
        Assert.False(vcpu.TryWrite(Msr.KvmStealTime, Page | 2 | Enable)); // 64-byte alignment
        Assert.False(vcpu.TryWrite(Msr.KvmPollControl, 2));
        Assert.False(vcpu.TryWrite(Msr.KvmPvEoi, Page + 2 | Enable));
        Assert.False(vcpu.TryWrite(Msr.KvmPvEoi, Hole | Enable));
        Assert.False(vcpu.TryWrite(Msr.KvmFirst + 2, 0)); // no asynchronous page faults
        Assert.False(vcpu.TryRead(Msr.KvmFirst + 2, out _));
        Assert.False(vcpu.TryRead(Msr.KvmLast, out _));
        Assert.True(vcpu.TryWrite(Msr.KvmStealTime, Hole | Enable)); // accepted, and never written
        vcpu.FallAsleep(new Woken());
        Assert.False(Wake(vcpu).Flushed);
    }

    [Theory]
    [InlineData("kvmclock", Msr.KvmSystemTime)]
    [InlineData("kvmclock", Msr.KvmSystemTimeOld)]
    [InlineData("kvmclock", Msr.KvmWallClock)]
    [InlineData("kvmclock", Msr.KvmWallClockOld)]
    [InlineData("kvm-steal-time", Msr.KvmStealTime)]
    [InlineData("kvm-pv-eoi", Msr.KvmPvEoi)]
    [InlineData("kvm-poll-control", Msr.KvmPollControl)]
    public void WithoutTheFeatureThereIsNoRegister(string feature, uint index)
    {
        foreach (string without in new[] { feature, "kvm" })
        {
            using ParavirtualVcpu vcpu = Vcpu("max,-" + without);
            Assert.False(vcpu.TryRead(index, out _));
            Assert.False(vcpu.TryWrite(index, 0));
        }
        using ParavirtualVcpu with = Vcpu();
        Assert.True(with.TryRead(index, out _));
        Assert.True(with.TryWrite(index, 0));
    }

    [Fact]
    public void StolenTimeIsAddedToWhatIsThere()
    {
        using ParavirtualVcpu vcpu = Vcpu();
        _memory.TryWrite(new Gpa(Page), [0, 0, 0, 0, 1]); // 2^32 ns from before a restore
        Assert.True(vcpu.TryWrite(Msr.KvmStealTime, Page | Enable));
        Assert.Equal(2u, Word(Page + 8));
        Assert.InRange(Long(Page), 1ul << 32, (1ul << 32) + 1_000_000_000);
        vcpu.FallAsleep(new Woken());
        Assert.Equal(1, Read(Page + 16, 1)[0]);
        PassTime(); // another tick
        Wake(vcpu);
        Assert.Equal(0, Read(Page + 16, 1)[0]);
        Assert.Equal(4u, Word(Page + 8));
    }

    [Fact]
    public void ASleepersTlbIsFlushedWhenItWakes()
    {
        foreach ((string model, bool flushed) in new[] { ("max", true), ("max,-kvm-pv-tlb-flush", false) })
        {
            using ParavirtualVcpu vcpu = Vcpu(model);
            vcpu.TryWrite(Msr.KvmStealTime, Page | Enable);
            vcpu.FallAsleep(new Woken());
            Assert.False(Wake(vcpu).Flushed);
            vcpu.FallAsleep(new Woken());
            _memory.TryWrite(new Gpa(Page + 16), [3]); // KVM_VCPU_FLUSH_TLB, left by another
            Assert.Equal(flushed, Wake(vcpu).Flushed);
        }
    }

    [Fact]
    public void AKickEndsOneHalt()
    {
        using ParavirtualVcpu vcpu = Vcpu();
        int kicks = 0;
        vcpu.Kicked = () => kicks++;
        Assert.False(Wake(vcpu).Left);
        vcpu.Unhalt();
        vcpu.Unhalt();
        Assert.Equal(2, kicks);
        Assert.True(vcpu.IsUnhalted);
        Assert.True(Wake(vcpu).Left);
        Assert.False(Wake(vcpu).Left);
    }

    [Fact]
    public void InitForgetsWhereToWrite()
    {
        using ParavirtualVcpu vcpu = Vcpu();
        vcpu.TryWrite(Msr.KvmSystemTime, Page | Enable);
        vcpu.TryWrite(Msr.KvmStealTime, Page + 64 | Enable);
        vcpu.Reset();
        byte[] before = Read(Page, 128);
        vcpu.TimeStampOffsetChanged(9);
        vcpu.FallAsleep(new Woken());
        Wake(vcpu);
        Assert.Equal(before, Read(Page, 128));
    }

    [Fact]
    public void TheRecordIsWhole()
    {
        using ParavirtualVcpu one = Vcpu();
        one.TryWrite(Msr.KvmWallClock, Page);
        one.TimeStampOffsetChanged(123);
        one.TryWrite(Msr.KvmSystemTime, Page + 64 | Enable);
        one.TryWrite(Msr.KvmStealTime, Page + 128 | Enable);
        one.TryWrite(Msr.KvmPvEoi, Page + 256 | Enable);
        one.TryWrite(Msr.KvmPollControl, 0);
        one.Unhalt();
        ParavirtualState state = one.Save();
        byte[] pages = Read(Page, 512);
        using ParavirtualVcpu other = Vcpu(index: 1);
        other.Restore(state);
        Assert.Equal(state, other.Save());
        Assert.Equal(pages, Read(Page, 512)); // RAM comes with its own copy
        Assert.Equal(new ParavirtualState(Page, Page + 64 | 1, Page + 128 | 1, Page + 256 | 1, 0, 123, true), state);
    }

    private Hypercalls Calls(ParavirtualVcpu[] vcpus, string model = "max") => new(CpuModel.Parse(model, out _)!, _bus, vcpus, _memory, _clock);

    private static long Call(Hypercalls calls, int number, ulong a = 0, ulong b = 0, ulong c = 0, ulong d = 0, bool is64 = true)
    {
        ulong[] registers = new ulong[16];
        (registers[0], registers[3], registers[1], registers[2], registers[6]) = ((ulong)number, a, b, c, d);
        calls.Call(0, registers, is64);
        return (long)registers[0];
    }

    [Fact]
    public void CallsOfLackingFeaturesAreUnknown()
    {
        ParavirtualVcpu[] vcpus = [Vcpu(), Vcpu(index: 1), Vcpu(index: 2)];
        Hypercalls all = Calls(vcpus);
        foreach (int unknown in new[] { 0, 2, 3, 4, 6, 7, 8, 12, 99, int.MaxValue })
            Assert.Equal(-1000, Call(all, unknown));
        foreach ((int number, string feature) in new[] { (5, "kvm-pv-unhalt"), (9, "kvmclock"), (10, "kvm-pv-ipi"), (11, "kvm-pv-sched-yield") })
        {
            Assert.NotEqual(-1000, Call(all, number, 0, 0));
            Assert.Equal(-1000, Call(Calls(vcpus, "max,-" + feature), number));
        }
        Assert.Equal(0, Call(all, 1));
    }

    [Theory]
    [InlineData(0b111ul, 0ul, 0u, 0x41u, 3, true)]
    [InlineData(0b110ul, 0ul, 1u, 0x41u, 1, true)] // ids 2 and 3; there is no 3
    [InlineData(0ul, 1ul, 0u, 0x41u, 0, true)] // id 64
    [InlineData(~0ul, ~0ul, uint.MaxValue, 0x41u, 0, true)] // ids beyond 32 bits do not wrap
    [InlineData(1ul, 0ul, 0u, 0x0Fu, 0, true)] // not a vector
    [InlineData(1ul, 0ul, 0u, 0x4_0041u, -22, true)] // a shorthand
    [InlineData(1ul, 0ul, 0u, 0x841u, -22, true)] // logical
    [InlineData(0ul, 1ul, 0u, 0x41u, 0, false)] // id 32
    public void IpisGoToABitmapOfIds(ulong lower, ulong upper, uint lowest, uint command, int taken, bool is64)
    {
        Hypercalls calls = Calls([Vcpu(), Vcpu(index: 1), Vcpu(index: 2)]);
        Assert.Equal(taken, Call(calls, 10, lower, upper, lowest, command, is64));
        Assert.Equal(Math.Max(taken, 0), _apics.Count(a => a.Pending));
    }

    [Fact]
    public void KicksAndYieldsOfAnybody()
    {
        ParavirtualVcpu[] vcpus = [Vcpu(), Vcpu(index: 1), Vcpu(index: 2)];
        Hypercalls calls = Calls(vcpus);
        Assert.Equal(0, Call(calls, 5, 0, 2));
        Assert.Equal([false, false, true], vcpus.Select(v => v.IsUnhalted));
        foreach (ulong id in new ulong[] { 0, 1, Vcpus, ulong.MaxValue })
        {
            Assert.Equal(0, Call(calls, 11, id));
            Assert.Equal(0, Call(calls, 5, 0, id + Vcpus < id ? id : id + Vcpus));
        }
        Assert.Equal(1, vcpus.Count(v => v.IsUnhalted));
    }

    [Fact]
    public void ClocksArePaired()
    {
        ParavirtualVcpu[] vcpus = [Vcpu()];
        Hypercalls calls = Calls(vcpus);
        vcpus[0].TimeStampOffsetChanged(1000);
        Assert.Equal(0, Call(calls, 9, Page));
        DateTime now = DateTime.UnixEpoch.AddSeconds(Long(Page)).AddTicks((long)Long(Page + 8) / 100);
        Assert.InRange((now - DateTime.UtcNow).TotalSeconds, -2, 2);
        Assert.Equal(5_000_001_000ul, Long(Page + 16));
        Assert.Equal(-95, Call(calls, 9, Page, 1));
        Assert.Equal(-14, Call(calls, 9, Hole));
    }

    /// <summary>More than a tick.</summary>
    private static void PassTime() => new HostEvent().WaitUntil(HostTime.Nanoseconds + 2_000_000);

    private static (bool Flushed, bool Left) Wake(ParavirtualVcpu vcpu)
    {
        Woken engine = new();
        vcpu.WakeUp(engine);
        return (engine.Flushed, engine.Left);
    }

    /// <summary>Notes what it is asked.</summary>
    private sealed class Woken : IVcpuEngine, IParavirtualEngine
    {
        public bool Flushed { get; private set; }
        public bool Left { get; private set; }
        public bool HasWork => false;
        public EngineCounters Counters => default;
        public void FlushTranslations() => Flushed = true;
        public void LeaveHalt() => Left = true;
        public StopReason Run() => StopReason.Halted;
        public void Kick() { }
        public void InterruptPending() { }
        public void NonMaskableInterrupt() { }
        public void Init() { }
        public void StartUp(byte vector) { }
        public VcpuState Export() => new();
        public void Import(VcpuState state) { }
        public void Reset() { }
        public void Dispose() { }
    }
}
