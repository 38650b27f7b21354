using Trapline.Devices.Timers;

namespace Trapline.Devices.Tests.Timers;

public class AcpiPmTests
{
    private readonly ManualClock _clock = new();
    private readonly RecordingLine _sci = new();
    private int _slept = -1;

    private AcpiPm Make(RecordingLine sci, bool wide = true) => new(_clock, sci, type => _slept = type, wide);

    [Fact]
    public void SleepEnableCallsBack()
    {
        AcpiPm pm = Make(_sci);
        Assert.Equal(1u, pm.ControlPorts.ReadPort(0, 2));
        pm.ControlPorts.WritePort(0, 2, 5 << 10);
        Assert.Equal(-1, _slept);
        pm.ControlPorts.WritePort(0, 2, (5 << 10) | 0x2000);
        Assert.Equal(5, _slept);
        Assert.Equal(0x1401u, pm.ControlPorts.ReadPort(0, 2)); // SLP_EN reads as zero
    }

    [Fact]
    public void ThePowerButtonRaisesTheSci()
    {
        AcpiPm pm = Make(_sci);
        pm.PressPowerButton();
        Assert.False(_sci.Level);
        pm.EventPorts.WritePort(2, 2, 0x100);
        Assert.True(_sci.Level);
        Assert.Equal(0x100u, pm.EventPorts.ReadPort(0, 2));
        pm.EventPorts.WritePort(0, 2, 0x100);
        Assert.False(_sci.Level);
        Assert.Equal(0x0100_0000u, pm.EventPorts.ReadPort(0, 4));
    }

    [Fact]
    public void AGeneralEventRaisesTheSciUntilItIsCleared()
    {
        AcpiPm pm = Make(_sci);
        pm.RaiseGeneralEvent(5);
        Assert.False(_sci.Level);
        pm.GeneralPorts.WritePort(1, 1, 1 << 5);
        Assert.True(_sci.Level);
        Assert.Equal(0x2020u, pm.GeneralPorts.ReadPort(0, 2));
        pm.GeneralPorts.WritePort(0, 1, 1 << 4);
        Assert.True(_sci.Level);
        AcpiPm copy = Make(new RecordingLine());
        copy.Restore(pm.Save());
        Assert.Equal(0x2020u, copy.GeneralPorts.ReadPort(0, 2));
        pm.GeneralPorts.WritePort(0, 1, 1 << 5);
        Assert.False(_sci.Level);
    }

    [Theory]
    [InlineData(false, 24)]
    [InlineData(true, 32)]
    public void TheTimerCountsAndItsTopBitRaisesTheStatus(bool wide, int bits)
    {
        AcpiPm pm = Make(_sci, wide);
        _clock.Advance(1_000_000_000);
        Assert.Equal(3_579_545u, pm.TimerPorts.ReadPort(0, 4));
        pm.EventPorts.WritePort(2, 2, 1);
        long half = ((1L << (bits - 1)) * 1_000_000_000 / AcpiPm.TimerHertz) - 1_000_000_000;
        _clock.Advance(half - 10);
        Assert.False(_sci.Level);
        _clock.Advance(20);
        Assert.True(_sci.Level);
        AcpiPm copy = Make(new RecordingLine(), wide);
        copy.Restore(pm.Save());
        Assert.Equal(1u, copy.EventPorts.ReadPort(0, 2));
        _clock.Advance(half * 4);
        Assert.True(pm.TimerPorts.ReadPort(0, 4) <= (wide ? uint.MaxValue : 0xFF_FFFF));
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        AcpiPm pm = Make(_sci);
        Probe.FuzzPorts(pm.EventPorts, 6);
        Probe.FuzzPorts(pm.ControlPorts, 4);
        Probe.FuzzPorts(pm.TimerPorts, 6);
        Probe.AllocatesNothing(() =>
        {
            pm.TimerPorts.ReadPort(0, 4);
            pm.EventPorts.ReadPort(0, 2);
            pm.EventPorts.WritePort(0, 2, 1);
        });
    }
}
