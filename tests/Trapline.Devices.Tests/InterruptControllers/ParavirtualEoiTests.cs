using Trapline.Core;
using Trapline.Devices.InterruptControllers;

namespace Trapline.Devices.Tests.InterruptControllers;

/// <summary>KVM's EOI by a bit in memory: what the guest sees, what it may do, and that no interrupt is lost on the way.</summary>
public class ParavirtualEoiTests
{
    private const uint Svr = 0xF0, Eoi = 0xB0, Isr = 0x100;
    private const ulong At = 0x100;

    private readonly ApicBus _bus = new();
    private readonly LocalApic _apic;
    private readonly RecordingVcpu _vcpu = new();
    private readonly ArrayMemory _memory = new(0x1000);

    public ParavirtualEoiTests()
    {
        _apic = new LocalApic(_bus, 0, true, new ManualClock(), () => 0, _ => 0);
        _apic.Connect(_vcpu);
        _apic.Connect(_memory);
        _apic.WriteMmio(Svr, 4, 0x1FF);
        Assert.True(_apic.TrySetParavirtualEoi(At | 1));
    }

    private byte Bit
    {
        get
        {
            byte[] one = new byte[1];
            Assert.True(_memory.TryRead(new Gpa(At), one));
            return one[0];
        }
        set => Assert.True(_memory.TryWrite(new Gpa(At), [value]));
    }

    private void Raise(byte vector, bool level = false) =>
        Assert.True(_bus.Deliver(new ApicMessage(0, Wide: true, Logical: false, DeliveryMode.Fixed, vector, level)));

    private uint InService(int vector) => (uint)_apic.ReadMmio(Isr + ((uint)vector / 32 * 16), 4) >> (vector & 31) & 1;

    [Fact]
    public void ClearingTheBitIsTheEnd()
    {
        Raise(0x41);
        Assert.Equal(0x41, _apic.Acknowledge());
        Assert.Equal(1, Bit);
        Bit = 0;
        Raise(0x31); // of lower priority: it could not be delivered while 41h is in service
        Assert.True(_apic.Pending);
        Assert.Equal(0x31, _apic.Acknowledge());
        Assert.Equal(0u, InService(0x41));
        Assert.Equal(1u, InService(0x31));
    }

    [Fact]
    public void ARequestMeanwhileWithdrawsTheOffer()
    {
        Raise(0x41);
        Assert.Equal(0x41, _apic.Acknowledge());
        int signals = _vcpu.Signals;
        Raise(0x31);
        Assert.True(_vcpu.Signals > signals, "nobody would look again");
        Assert.Equal(-1, _apic.Acknowledge()); // 41h is still in service
        Assert.Equal(0, Bit);
        Assert.False(_apic.Pending);
        _apic.WriteMmio(Eoi, 4, 0); // so the guest has to say so
        Assert.Equal(0x31, _apic.Acknowledge());
    }

    [Fact]
    public void AWriteOfTheRegisterEndsOneInterruptOnly()
    {
        Raise(0x41);
        Assert.Equal(0x41, _apic.Acknowledge());
        _apic.WriteMmio(Eoi, 4, 0); // without a look at the bit, which stands
        Assert.Equal(0, Bit);
        Assert.Equal(0u, InService(0x41));
        Assert.False(_apic.Pending);
    }

    [Fact]
    public void NestedLevelTriggeredAndCrowdedOnesAreNotOffered()
    {
        Raise(0x41, level: true); // the I/O APIC waits for its end
        Assert.Equal(0x41, _apic.Acknowledge());
        Assert.Equal(0, Bit);
        Raise(0x51); // nested
        Assert.Equal(0x51, _apic.Acknowledge());
        Assert.Equal(0, Bit);
        _apic.WriteMmio(Eoi, 4, 0);
        _apic.WriteMmio(Eoi, 4, 0);
        Raise(0x61);
        Raise(0x62); // another waits
        Assert.Equal(0x62, _apic.Acknowledge());
        Assert.Equal(0, Bit);
    }

    [Fact]
    public void ReadingTheRegistersShowsTheTruth()
    {
        Raise(0x41);
        Assert.Equal(0x41, _apic.Acknowledge());
        Bit = 0;
        Assert.Equal(0u, InService(0x41));
    }

    [Fact]
    public void TheRecordHasNoOpenOffer()
    {
        Raise(0x41);
        Assert.Equal(0x41, _apic.Acknowledge());
        LocalApicState open = _apic.Save();
        Assert.Equal(0, Bit);
        Assert.Equal(1u << 1, open.InService[2]);
        Raise(0x42);
        _apic.WriteMmio(Eoi, 4, 0);
        Assert.Equal(0x42, _apic.Acknowledge());
        Bit = 0;
        Assert.All(_apic.Save().InService, word => Assert.Equal(0u, word));
    }

    [Fact]
    public void AddressesAreCheckedAndMemoryMayGo()
    {
        Assert.False(_apic.TrySetParavirtualEoi(At + 2 | 1)); // not aligned
        Assert.False(_apic.TrySetParavirtualEoi(0x1000_0000 | 1)); // not RAM
        Assert.False(_apic.TrySetParavirtualEoi(ulong.MaxValue));
        Assert.Equal(At | 1, _apic.ParavirtualEoi);
        Assert.True(_apic.TrySetParavirtualEoi(0x1000_0000)); // off: nothing to check
        Raise(0x41);
        Assert.Equal(0x41, _apic.Acknowledge());
        Assert.Equal(0, Bit);
    }

    [Fact]
    public void InitSwitchesItOff()
    {
        _apic.InitReset();
        Assert.Equal(0ul, _apic.ParavirtualEoi);
    }
}
