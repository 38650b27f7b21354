using Trapline.Core;
using Trapline.Devices.Timers;

namespace Trapline.Devices.Tests.Timers;

public class HpetTests
{
    private readonly ManualClock _clock = new();
    private readonly RecordingMsiSink _msi = new();
    private readonly RecordingLine _irq0 = new(), _irq8 = new(), _pin20 = new();
    private readonly Hpet _hpet;

    public HpetTests() => _hpet = Make(_irq0, _irq8, _pin20);

    private Hpet Make(RecordingLine irq0, RecordingLine irq8, RecordingLine pin20)
    {
        var routes = new InterruptLine?[24];
        routes[20] = pin20;
        return new Hpet(_clock, _msi, irq0, irq8, routes);
    }

    private static ulong Timer(int n) => 0x100 + (0x20ul * (ulong)n);

    [Fact]
    public void DescribesItself()
    {
        Assert.Equal(0x0098_9680_8086_A201ul, _hpet.ReadMmio(0, 8));
        Assert.Equal(10_000_000ul, _hpet.ReadMmio(4, 4));
        Assert.Equal(0x0010_0000_0000_8030ul, _hpet.ReadMmio(Timer(0), 8));
    }

    [Fact]
    public void CountsOnlyWhileEnabled()
    {
        _clock.Advance(1000);
        Assert.Equal(0ul, _hpet.ReadMmio(0xF0, 8));
        _hpet.WriteMmio(0x10, 8, 1);
        _clock.Advance(1000);
        Assert.Equal(100ul, _hpet.ReadMmio(0xF0, 8));
        _hpet.WriteMmio(0x10, 8, 0);
        _clock.Advance(1000);
        Assert.Equal(100ul, _hpet.ReadMmio(0xF0, 8));
        _hpet.WriteMmio(0xF4, 4, 7);
        Assert.Equal((7ul << 32) | 100, _hpet.ReadMmio(0xF0, 8));
    }

    [Fact]
    public void OneShotFiresOnceOnItsRoute()
    {
        _hpet.WriteMmio(0x10, 4, 1);
        _hpet.WriteMmio(Timer(0), 4, (20 << 9) | 4);
        _hpet.WriteMmio(Timer(0) + 8, 8, 500);
        _clock.Advance(4990);
        Assert.Equal(0, _pin20.Rises);
        _clock.Advance(10);
        Assert.Equal(1, _pin20.Rises);
        _clock.Advance(1_000_000);
        Assert.Equal(1, _pin20.Rises);
    }

    [Fact]
    public void PeriodicTimerAsLinuxProgramsIt()
    {
        _hpet.WriteMmio(0x10, 4, 3); // legacy routing
        _hpet.WriteMmio(Timer(0), 4, 4 | 8 | 0x40 | 0x100);
        _hpet.WriteMmio(Timer(0) + 8, 4, 100_000);
        _clock.Advance(1000);
        _hpet.WriteMmio(Timer(0) + 8, 4, 400_000);
        _clock.Advance(999_000);
        Assert.Equal(1, _irq0.Rises);
        _clock.Advance(4_000_000 * 3);
        Assert.Equal(4, _irq0.Rises);
        Assert.Equal(1_700_000ul, _hpet.ReadMmio(Timer(0) + 8, 8));
        _clock.Skip(4_000_000 * 5); // a stalled host: one interrupt, then the beat goes on
        _clock.Advance(0);
        Assert.Equal(5, _irq0.Rises);
        _clock.Advance(4_000_000);
        Assert.Equal(6, _irq0.Rises);
    }

    [Fact]
    public void ASilentPeriodicTimerWakesNobodyAndKeepsItsBeat()
    {
        _hpet.WriteMmio(0x10, 4, 3);
        _hpet.WriteMmio(Timer(0), 4, 4 | 8 | 0x40);
        _hpet.WriteMmio(Timer(0) + 8, 8, 100_000);
        _clock.Advance(1_500_000);
        Assert.True(_clock.AnyArmed);
        _hpet.WriteMmio(Timer(0), 4, 8);
        Assert.False(_clock.AnyArmed);
        _clock.Advance(5_000_000);
        Assert.Equal(1, _irq0.Rises);
        Assert.Equal(700_000ul, _hpet.ReadMmio(Timer(0) + 8, 8)); // the next match: the counter stands at 650,000
        _hpet.WriteMmio(Timer(0), 4, 4 | 8);
        _clock.Advance(500_000);
        Assert.Equal(2, _irq0.Rises);
    }

    [Fact]
    public void LevelInterruptsHoldUntilCleared()
    {
        _hpet.WriteMmio(Timer(1), 4, (20 << 9) | 4 | 2);
        _hpet.WriteMmio(Timer(1) + 8, 8, 100);
        _hpet.WriteMmio(0x10, 4, 1);
        _clock.Advance(1000);
        Assert.True(_pin20.Level);
        Assert.Equal(2ul, _hpet.ReadMmio(0x20, 8));
        _hpet.WriteMmio(0x20, 4, 2);
        Assert.False(_pin20.Level);
    }

    [Fact]
    public void FsbDeliveryIsAnMsi()
    {
        _hpet.WriteMmio(Timer(2) + 0x10, 8, 0xFEE0_1000_0000_0041);
        _hpet.WriteMmio(Timer(2), 4, 0x4000 | 4);
        _hpet.WriteMmio(Timer(2) + 8, 8, 100);
        _hpet.WriteMmio(0x10, 4, 1);
        _clock.Advance(2000);
        Assert.Equal(1, _msi.Count);
        Assert.Equal(new MsiMessage(0xFEE0_1000, 0x41), _msi.Last);
    }

    [Fact]
    public void LegacyRoutingCutsOffThePit()
    {
        _hpet.LegacyTimerInput.Set(true);
        Assert.True(_irq0.Level);
        _hpet.WriteMmio(0x10, 4, 2);
        Assert.False(_irq0.Level);
        _hpet.LegacyClockInput.Set(true);
        Assert.False(_irq8.Level);
        _hpet.WriteMmio(0x10, 4, 0);
        Assert.True(_irq8.Level);
    }

    [Fact]
    public void StateRoundTripsMidPeriod()
    {
        _hpet.WriteMmio(0x10, 4, 3);
        _hpet.WriteMmio(Timer(0), 4, 4 | 8 | 0x40);
        _hpet.WriteMmio(Timer(0) + 8, 8, 100_000);
        _clock.Advance(1_300_000);
        var irq0 = new RecordingLine();
        Hpet copy = Make(irq0, new RecordingLine(), new RecordingLine());
        copy.Restore(_hpet.Save());
        Assert.Equal(130_000ul, copy.ReadMmio(0xF0, 8));
        _clock.Advance(699_999);
        Assert.Equal(0, irq0.Rises);
        _clock.Advance(1);
        Assert.Equal(1, irq0.Rises);
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        var random = new Random(9);
        Probe.FuzzMmio(_hpet, 0x180, () => _clock.Advance(random.Next(100_000)));
        Probe.AllocatesNothing(() =>
        {
            _hpet.ReadMmio(0xF0, 8);
            _hpet.WriteMmio(Timer(0) + 8, 8, 7);
            _hpet.WriteMmio(0x10, 4, 1);
        });
    }
}
