using Trapline.Core;
using Trapline.Devices.InterruptControllers;

namespace Trapline.Devices.Tests.InterruptControllers;

public class ApicTests
{
    private const uint Ldr = 0xD0, Dfr = 0xE0, Svr = 0xF0, Tpr = 0x80, Ppr = 0xA0, Eoi = 0xB0, Esr = 0x280, Icr = 0x300, Icr2 = 0x310;
    private const uint Lvtt = 0x320, Lvt0 = 0x350, Lvt1 = 0x360, LvtErr = 0x370, Tmict = 0x380, Tmcct = 0x390, Tdcr = 0x3E0;

    private readonly ManualClock _clock = new();
    private readonly ApicBus _bus = new();
    private readonly LocalApic[] _cpu = new LocalApic[4];
    private readonly RecordingVcpu[] _vcpu = new RecordingVcpu[4];
    private readonly IoApic _ioApic;
    private readonly PicPair _pic;
    private ulong _tscAdjust;

    public ApicTests()
    {
        for (uint i = 0; i < 4; i++)
        {
            _cpu[i] = new LocalApic(_bus, i, i == 0, _clock, Tsc, TscToNs);
            _vcpu[i] = new RecordingVcpu();
            _cpu[i].Connect(_vcpu[i]);
            _cpu[i].WriteMmio(Svr, 4, 0x1FF);
        }
        _ioApic = new IoApic(_bus);
        _pic = new PicPair(_cpu[0].Lint0);
        _bus.Attach(_pic);
    }

    private ulong Tsc() => ((ulong)_clock.Nanoseconds * 2) + _tscAdjust; // 2 GHz

    private long TscToNs(ulong tsc) => tsc <= _tscAdjust ? 0 : (long)Math.Min((tsc - _tscAdjust + 1) / 2, long.MaxValue);

    private uint Read(uint register, int cpu = 0) => (uint)_cpu[cpu].ReadMmio(register, 4);

    private void Write(uint register, uint value, int cpu = 0) => _cpu[cpu].WriteMmio(register, 4, value);

    private void Redirect(int line, uint low, uint destination = 0)
    {
        _ioApic.WriteMmio(0, 4, (ulong)(0x10 + (line * 2)));
        _ioApic.WriteMmio(0x10, 4, low);
        _ioApic.WriteMmio(0, 4, (ulong)(0x11 + (line * 2)));
        _ioApic.WriteMmio(0x10, 4, destination << 24);
    }

    private uint Redirection(int line)
    {
        _ioApic.WriteMmio(0, 4, (ulong)(0x10 + (line * 2)));
        return (uint)_ioApic.ReadMmio(0x10, 4);
    }

    private int Take(int cpu = 0)
    {
        if (!_cpu[cpu].Pending)
            return -1;
        return _cpu[cpu].Acknowledge();
    }

    private void EnableX2Apic(int cpu = 0)
    {
        _cpu[cpu].ReadMsr(0x1B, out ulong value);
        Assert.True(_cpu[cpu].WriteMsr(0x1B, value | 0x400));
    }

    [Fact]
    public void IdentifiesItself()
    {
        Assert.Equal(0x0005_0014u, Read(0x30));
        Assert.Equal(0x0300_0000u, Read(0x20, 3));
        _cpu[0].ReadMsr(0x1B, out ulong bsp);
        _cpu[1].ReadMsr(0x1B, out ulong ap);
        Assert.Equal(0xFEE0_0900u, bsp);
        Assert.Equal(0xFEE0_0800u, ap);
    }

    [Fact]
    public void PrioritiesNestAndEoiReturns()
    {
        Write(Icr, 0x40000 | 0x51);
        Write(Icr, 0x40000 | 0x61);
        Write(Icr, 0x40000 | 0x62);
        Assert.Equal(0x62, Take());
        Assert.Equal(0x60u, Read(Ppr));
        Assert.Equal(-1, Take()); // 0x61 is of the same class
        Write(Icr, 0x40000 | 0x71);
        Assert.Equal(0x71, Take());
        Write(Eoi, 0);
        Write(Eoi, 0);
        Assert.Equal(0x61, Take());
        Write(Eoi, 0);
        _cpu[0].WriteCr8(5);
        Assert.Equal(0x50u, Read(Tpr));
        Assert.Equal(-1, Take());
        int signals = _vcpu[0].Signals;
        _cpu[0].WriteCr8(4);
        Assert.True(_vcpu[0].Signals > signals);
        Assert.Equal(0x51, Take());
    }

    [Fact]
    public void ModeChangesFollowTheManual()
    {
        LocalApic apic = _cpu[0];
        const ulong b = 0xFEE0_0100;
        Assert.False(apic.WriteMsr(0x1B, b | 0x400));         // x2APIC without enable
        Assert.True(apic.WriteMsr(0x1B, b | 0xC00));
        Assert.False(apic.WriteMsr(0x1B, b | 0x800));         // x2APIC to xAPIC
        Assert.True(apic.WriteMsr(0x1B, b));
        Assert.False(apic.Enabled);
        Assert.Equal(ulong.MaxValue, apic.ReadMmio(0x30, 4));
        apic.WriteCr8(15);
        Assert.Equal(15, apic.ReadCr8());
        apic.WriteCr8(0);
        Assert.False(apic.WriteMsr(0x1B, b | 0xC00));         // disabled to x2APIC
        Assert.True(apic.WriteMsr(0x1B, 0xFED4_0900));
        Assert.Equal(0xFED4_0000u, apic.MmioBase.Value);
        Assert.False(apic.WriteMsr(0x1B, b | 0x801));
        Assert.False(apic.WriteMsr(0x1B, b | 0x800 | (1ul << 40)));
    }

    [Fact]
    public void X2ApicRegistersCheckReservedBits()
    {
        Assert.False(_cpu[2].ReadMsr(0x802, out _));
        EnableX2Apic(2);
        LocalApic apic = _cpu[2];
        Assert.Equal(ulong.MaxValue, apic.ReadMmio(0x30, 4));
        for (uint i = 0; i < 0x100; i++)
        {
            bool readable = i is 2 or 3 or 8 or 0xA or 0xD or 0xF or (>= 0x10 and <= 0x28) or 0x30 or (>= 0x32 and <= 0x39) or 0x3E;
            bool writable = i is 8 or 0xB or 0xF or 0x28 or 0x30 or (>= 0x32 and <= 0x38) or 0x3E or 0x3F;
            Assert.Equal(readable, apic.ReadMsr(0x800 + i, out ulong value));
            Assert.Equal(writable, apic.WriteMsr(0x800 + i, value & 0xFFFF_FFFF));
            if (i != 0x30)
                Assert.False(apic.WriteMsr(0x800 + i, ulong.MaxValue));
        }
        apic.ReadMsr(0x80D, out ulong ldr);
        Assert.Equal(4u, ldr);
        Assert.False(apic.WriteMsr(0x83F, 0x100));
        Assert.False(apic.WriteMsr(0x80B, 1));
        Assert.True(apic.WriteMsr(0x80F, 0x1FF));
        Assert.True(apic.WriteMsr(0x83F, 0xF1));
        Assert.Equal(0xF1, Take(2));
        Assert.True(apic.WriteMsr(0x80B, 0));
        Assert.Equal(-1, Take(2));
    }

    [Fact]
    public void PhysicalBroadcastAndShorthandsReachAll()
    {
        Write(Icr2, 0xFF00_0000);
        Write(Icr, 0xCF);
        for (int i = 0; i < 4; i++)
            Assert.Equal(0xCF, Take(i));
        for (int i = 0; i < 4; i++)
            Write(Eoi, 0, i);
        Write(Icr, 0xC_0000 | 0x44);
        Assert.Equal(-1, Take(0));
        for (int i = 1; i < 4; i++)
            Assert.Equal(0x44, Take(i));
        EnableX2Apic();
        Assert.True(_cpu[0].WriteMsr(0x830, 0xFFFF_FFFF_0000_00D0));
        for (int i = 0; i < 4; i++)
            Assert.Equal(0xD0, Take(i));
    }

    [Theory]
    [InlineData(0xFFFF_FFFF, 0x01, 0x02, 0x03, true, true)]
    [InlineData(0xFFFF_FFFF, 0x01, 0x02, 0xFE, false, true)]
    [InlineData(0x0FFF_FFFF, 0x21, 0x22, 0x23, true, true)]
    [InlineData(0x0FFF_FFFF, 0x21, 0x12, 0x23, true, false)]
    [InlineData(0x0FFF_FFFF, 0x21, 0x12, 0xF3, true, true)]
    public void LogicalDestinations(uint dfr, uint ldr0, uint ldr1, uint destination, bool first, bool second)
    {
        Write(Dfr, dfr, 0);
        Write(Dfr, dfr, 1);
        Write(Ldr, ldr0 << 24, 0);
        Write(Ldr, ldr1 << 24, 1);
        Write(Icr2, destination << 24, 3);
        Write(Icr, 0x800 | 0xF1, 3);
        Assert.Equal(first ? 0xF1 : -1, Take(0));
        Assert.Equal(second ? 0xF1 : -1, Take(1));
        Assert.Equal(-1, Take(2));
    }

    [Fact]
    public void LowestPriorityPicksTheIdlest()
    {
        for (int i = 0; i < 4; i++)
        {
            Write(Ldr, 1u << (24 + i), i);
            Write(Tpr, i == 2 ? 0x10u : 0x20u, i);
        }
        _bus.Send(new MsiMessage(0xFEE0_F004, 0x0100 | 0x99));
        Assert.Equal(0x99, Take(2));
        for (int i = 0; i < 4; i++)
            Write(Tpr, 0, i);
        Write(Eoi, 0, 2);
        for (int i = 0; i < 400; i++)
            _bus.Send(new MsiMessage(0xFEE0_F00C, (uint)(0x60 + (i % 100))));
        Assert.All(Enumerable.Range(0, 4), i => Assert.True(_cpu[i].Pending)); // ties go round
    }

    [Fact]
    public void NmiInitAndStartUp()
    {
        Write(Icr2, 1 << 24);
        Write(Icr, 0x400);
        Assert.Equal(1, _vcpu[1].Nmis);
        Write(Tpr, 0x20, 1);
        Write(0x20, 9 << 24, 1);
        Write(Icr2, 9 << 24);
        Write(Icr, 0xC500);
        Write(Icr, 0x8500); // de-assert
        Assert.Equal(1, _vcpu[1].Inits);
        Assert.Equal(0u, Read(Tpr, 1));
        Assert.Equal(0xFFu, Read(Svr, 1));
        Assert.Equal(9u << 24, Read(0x20, 1));
        Write(Icr, 0x69A);
        Assert.Equal(0x9A, _vcpu[1].StartVector);
        Write(Icr, 0x34); // software-disabled: not accepted
        Assert.Equal(-1, Take(1));
    }

    [Fact]
    public void ErrorsAreLatchedByWritingTheStatus()
    {
        Write(LvtErr, 0xFE);
        Write(Icr, 0x40000 | 3);
        Assert.Equal(0u, Read(Esr));
        Assert.Equal(0xFE, Take());
        Write(Esr, 0);
        Assert.Equal(0x20u, Read(Esr));
        Write(Esr, 0);
        Assert.Equal(0u, Read(Esr));
        Read(0x40);
        Write(Esr, 0);
        Assert.Equal(0x80u, Read(Esr));
    }

    [Fact]
    public void ExtIntComesThroughLint0()
    {
        _pic.MasterPorts.WritePort(0, 1, 0x11);
        _pic.MasterPorts.WritePort(1, 1, 8);
        _pic.MasterPorts.WritePort(1, 1, 4);
        _pic.MasterPorts.WritePort(1, 1, 1);
        _pic.Line(0).Set(true);
        Assert.False(_cpu[0].Pending);
        Write(Lvt0, 0x700);
        Assert.Equal(8, Take());
        Assert.False(_cpu[0].Pending);
        Write(Lvt0, 0x10700);
        _pic.MasterPorts.WritePort(0, 1, 0x20);
        _pic.Line(1).Set(true);
        Assert.False(_cpu[0].Pending);
        _cpu[0].WriteMsr(0x1B, 0xFEE0_0100); // globally disabled: LINT0 is INTR
        Assert.Equal(9, Take());
    }

    [Fact]
    public void Lint1IsNmi()
    {
        _cpu[0].Lint1.Pulse();
        Assert.Equal(0, _vcpu[0].Nmis);
        Write(Lvt1, 0x400);
        _cpu[0].Lint1.Pulse();
        Assert.Equal(1, _vcpu[0].Nmis);
    }

    [Fact]
    public void OneShotTimerCountsAndStops()
    {
        Write(Tdcr, 0xB);
        Write(Lvtt, 0xEE);
        Write(Tmict, 1000);
        _clock.Advance(400);
        Assert.Equal(600u, Read(Tmcct));
        Assert.Equal(-1, Take());
        _clock.Advance(600);
        Assert.Equal(0u, Read(Tmcct));
        Assert.Equal(0xEE, Take());
        Write(Eoi, 0);
        _clock.Advance(10_000);
        Assert.Equal(-1, Take());
        Write(Tdcr, 0x3); // by 16
        Write(Tmict, 1000);
        _clock.Advance(8000);
        Assert.Equal(500u, Read(Tmcct));
        Write(Tdcr, 0xB);
        Assert.Equal(500u, Read(Tmcct));
        _clock.Skip(500); // the host's timer is late, the register is not
        Assert.Equal(0u, Read(Tmcct));
        Assert.Equal(0xEE, Take());
    }

    [Fact]
    public void ModeChangesKeepTheCount()
    {
        Write(Tdcr, 0xB);
        Write(Lvtt, 0xEE);
        Write(Tmict, 1_000_000);
        _clock.Advance(600_000);
        Write(Lvtt, 0x200EE);
        Assert.Equal(400_000u, Read(Tmcct));
        _clock.Advance(500_000);
        Assert.Equal(900_000u, Read(Tmcct));
        Assert.Equal(0xEE, Take());
        Write(Eoi, 0);
        _clock.Advance(1_000_000);
        Assert.Equal(0xEE, Take());
        Write(Eoi, 0);
        Write(Lvtt, 0xEE);
        Assert.Equal(900_000u, Read(Tmcct));
        _clock.Advance(900_000);
        Assert.Equal(0u, Read(Tmcct));
        Write(Lvtt, 0x200EE);
        Assert.Equal(0u, Read(Tmcct));
        Assert.Equal(1_000_000u, Read(Tmict));
        _cpu[0].WriteMsr(0x6E0, 5);
        _cpu[0].ReadMsr(0x6E0, out ulong deadline);
        Assert.Equal(0u, deadline); // not in that mode
        Write(Lvtt, 0x400EE);
        Assert.Equal(0u, Read(Tmict));
    }

    [Fact]
    public void TscDeadlineFiresAtOnceWhenPast()
    {
        _clock.Advance(1000);
        Write(Lvtt, 0x400EF);
        _cpu[0].WriteMsr(0x6E0, Tsc());
        Assert.Equal(0xEF, Take());
        Write(Eoi, 0);
        _cpu[0].ReadMsr(0x6E0, out ulong deadline);
        Assert.Equal(0u, deadline);
        _cpu[0].WriteMsr(0x6E0, Tsc() + 2000);
        _clock.Advance(999);
        Assert.Equal(-1, Take());
        _clock.Advance(1);
        Assert.Equal(0xEF, Take());
        Write(Eoi, 0);
        _cpu[0].WriteMsr(0x6E0, Tsc() + 1_000_000);
        _tscAdjust = 999_000;
        _cpu[0].TimeStampCounterChanged();
        _clock.Advance(499);
        Assert.Equal(-1, Take());
        _clock.Advance(1);
        Assert.Equal(0xEF, Take());
        Write(Eoi, 0);
        _cpu[0].WriteMsr(0x6E0, ulong.MaxValue);
        _cpu[0].WriteMsr(0x6E0, 0);
        Assert.False(_clock.AnyArmed);
    }

    [Fact]
    public void IoApicRegisters()
    {
        _ioApic.WriteMmio(0, 4, 1);
        Assert.Equal(0x0017_0020u, _ioApic.ReadMmio(0x10, 4));
        _ioApic.WriteMmio(0, 4, 0);
        _ioApic.WriteMmio(0x10, 4, 0xFFFF_FFFF);
        Assert.Equal(0x0F00_0000u, _ioApic.ReadMmio(0x10, 4));
        _ioApic.WriteMmio(0, 4, 2);
        _ioApic.WriteMmio(0x10, 4, 0);
        Assert.Equal(0x0F00_0000u, _ioApic.ReadMmio(0x10, 4));
        Redirect(23, 0xFFFF_FFFF);
        Assert.Equal(0x1_AFFFu, Redirection(23));
    }

    [Fact]
    public void EdgeInterruptsAreLostWhileMasked()
    {
        Redirect(14, 0x1_0076);
        _ioApic.Line(14).Pulse();
        Redirect(14, 0x76);
        Assert.Equal(-1, Take());
        _ioApic.Line(14).Pulse();
        Assert.Equal(0x76, Take());
    }

    [Fact]
    public void LevelInterruptsRepeatUntilTheLineFalls()
    {
        Redirect(14, 0x8077);
        _ioApic.Line(14).Set(true);
        Assert.Equal(0x77, Take());
        Assert.NotEqual(0u, Read(0x180 + 0x30) & (1u << 0x17));
        Assert.Equal(0x4000u, Redirection(14) & 0x4000);
        Assert.Equal(-1, Take());
        Write(Eoi, 0);
        Assert.Equal(0x77, Take());
        _ioApic.Line(14).Set(false);
        Write(Eoi, 0);
        Assert.Equal(-1, Take());
        Assert.Equal(0u, Redirection(14) & 0x4000);
        Redirect(14, 0x1_8077);
        _ioApic.Line(14).Set(true);
        Assert.Equal(-1, Take());
        Redirect(14, 0x8077);
        Assert.Equal(0x77, Take());
        _ioApic.WriteMmio(0x40, 4, 0x77); // the EOI register
        Write(Eoi, 0);
        Assert.Equal(0x77, Take());
        Redirect(14, 0x77); // to edge and back clears remote IRR
        Redirect(14, 0x8077);
        Assert.Equal(0x4000u, Redirection(14) & 0x4000);
    }

    [Fact]
    public void LogicalIoApicInterruptReachesX2Apics()
    {
        for (int i = 0; i < 4; i++)
            EnableX2Apic(i);
        Redirect(14, 0x8886, 0xD);
        _ioApic.Line(14).Set(true);
        Assert.Equal(0x86, Take(0));
        Assert.Equal(-1, Take(1));
        Assert.Equal(0x86, Take(2));
        Assert.Equal(0x86, Take(3));
    }

    [Fact]
    public void IoApicPassesExtInt()
    {
        Redirect(0, 0x700);
        _ioApic.Line(0).Pulse();
        Assert.True(_cpu[0].Pending);
        Assert.Equal(7, _cpu[0].Acknowledge()); // nothing at the 8259: its spurious vector
        Assert.False(_cpu[0].Pending);
    }

    [Fact]
    public void StateRoundTripsWithARunningTimer()
    {
        Write(Tdcr, 0xB);
        Write(Lvtt, 0x200EE);
        Write(Tmict, 100_000);
        Write(Icr, 0x40000 | 0x51);
        Take();
        Write(Icr, 0x40000 | 0x41);
        _clock.Advance(30_000);
        var bus = new ApicBus();
        var copy = new LocalApic(bus, 0, true, _clock, Tsc, TscToNs);
        copy.Restore(_cpu[0].Save());
        Assert.Equal(70_000u, copy.ReadMmio(Tmcct, 4));
        _clock.Advance(70_000);
        Assert.Equal(0xEE, copy.Acknowledge());
        copy.WriteMmio(Eoi, 4, 0);
        copy.WriteMmio(Eoi, 4, 0);
        Assert.Equal(0x41, copy.Acknowledge());
        var io = new IoApic(bus);
        Redirect(3, 0x8099);
        _ioApic.Line(3).Set(true);
        io.Restore(_ioApic.Save());
        io.Line(3).Set(true);
        copy.WriteMmio(Eoi, 4, 0);
        Assert.False(copy.Pending); // remote IRR is set
        io.WriteMmio(0x40, 4, 0x99);
        Assert.Equal(0x99, copy.Acknowledge());
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        var random = new Random(3);
        Action between = () =>
        {
            _ioApic.Line(random.Next(24)).Set(random.Next(2) == 0);
            _bus.Send(new MsiMessage(0xFEE0_0000 | (uint)random.Next(1 << 20), (uint)random.Next(1 << 16)));
            _cpu[random.Next(4)].Acknowledge();
            _clock.Skip(random.Next(1000));
        };
        for (int i = 0; i < 4; i++)
            Probe.FuzzMmio(_cpu[i], 0x1000, between);
        Probe.FuzzMmio(_ioApic, 0x100, between);
        for (int i = 0; i < 50_000; i++)
        {
            uint msr = random.Next(8) == 0 ? 0x1Bu : random.Next(8) == 0 ? 0x6E0u : (uint)random.Next(0x800, 0x840);
            ulong value = (ulong)random.NextInt64() >> random.Next(64);
            _cpu[i & 3].WriteMsr(msr, msr == 0x1B ? 0xFEE0_0000 | (value & 0xC00) : value);
            _cpu[i & 3].ReadMsr(msr, out _);
        }
    }

    [Fact]
    public void TheHotPathsAllocateNothing()
    {
        EnableX2Apic(1);
        Write(Lvtt, 0x400EF);
        Probe.AllocatesNothing(() =>
        {
            Write(Icr, 0x40000 | 0x51);
            Take();
            Write(Eoi, 0);
            _cpu[1].WriteMsr(0x83F, 0x66);
            Take(1);
            _cpu[1].WriteMsr(0x80B, 0);
            _cpu[0].WriteMsr(0x6E0, Tsc() + 1000);
            Read(Tmcct);
            _bus.Send(new MsiMessage(0xFEE0_0000, 0x55));
        });
    }
}
