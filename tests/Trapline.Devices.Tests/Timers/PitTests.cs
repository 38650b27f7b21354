using Trapline.Devices.Timers;

namespace Trapline.Devices.Tests.Timers;

public class PitTests
{
    private readonly ManualClock _clock = new();
    private readonly RecordingLine _line = new();
    private readonly Pit8254 _pit;

    public PitTests() => _pit = new Pit8254(_clock, _line);

    /// <summary>The time at which the oscillator has just ticked that often.</summary>
    private static long At(long ticks) => ((ticks * 1_000_000_000) + Pit8254.Hertz - 1) / Pit8254.Hertz;

    private void GoTo(long ticks) => _clock.Advance(At(ticks) - _clock.Nanoseconds);

    private void Program(int channel, int mode, int count, bool bcd = false)
    {
        _pit.WritePort(3, 1, (uint)((channel << 6) | 0x30 | (mode << 1) | (bcd ? 1 : 0)));
        _pit.WritePort((ushort)channel, 1, (uint)count & 0xFF);
        _pit.WritePort((ushort)channel, 1, (uint)count >> 8);
    }

    private int Count(int channel)
    {
        _pit.WritePort(3, 1, (uint)channel << 6);
        return (int)(_pit.ReadPort((ushort)channel, 1) | (_pit.ReadPort((ushort)channel, 1) << 8));
    }

    private uint Status(int channel)
    {
        _pit.WritePort(3, 1, 0xE0u | (2u << channel));
        return _pit.ReadPort((ushort)channel, 1);
    }

    [Fact]
    public void RateGeneratorInterruptsEachPeriod()
    {
        Program(0, 2, 11932);
        Assert.Equal(0, _line.Rises);
        for (int i = 1; i <= 100; i++)
        {
            GoTo((11932L * i) - 1);
            Assert.Equal(i - 1, _line.Rises);
            GoTo(11932L * i);
            Assert.Equal(i, _line.Rises);
        }
        Assert.Equal(11932, Count(0));
    }

    [Fact]
    public void SquareWaveCountsByTwo()
    {
        Program(0, 3, 1000);
        Assert.Equal(0xB6u & 0x3F, Status(0) & 0x3F);
        GoTo(100);
        Assert.Equal(800, Count(0));
        Assert.Equal(0x80u, Status(0) & 0x80);
        GoTo(600);
        Assert.Equal(800, Count(0));
        Assert.Equal(0u, Status(0) & 0x80);
        GoTo(3000);
        Assert.Equal(3, _line.Rises);
    }

    [Fact]
    public void TerminalCountInterruptsOnceAndWraps()
    {
        Program(0, 0, 1000);
        Assert.False(_line.Level);
        GoTo(999);
        Assert.False(_line.Level);
        Assert.Equal(1, Count(0));
        GoTo(1000);
        Assert.True(_line.Level);
        GoTo(1001);
        Assert.Equal(0xFFFF, Count(0));
        GoTo(200_000);
        Assert.Equal(1, _line.Rises);
        Assert.False(_clock.AnyArmed);
        Program(0, 4, 10);
        Assert.Equal(1, _line.Rises);
        GoTo(200_200);
        Assert.Equal(2, _line.Rises);
    }

    [Fact]
    public void BcdCounts()
    {
        Program(0, 2, 0x1234, bcd: true);
        GoTo(35);
        Assert.Equal(0x1199, Count(0));
    }

    [Fact]
    public void ANewCountOfAPeriodicModeWaitsForThePeriodsEnd()
    {
        Program(0, 2, 1000);
        GoTo(400);
        _pit.WritePort(0, 1, 0xF4);
        _pit.WritePort(0, 1, 0x01); // 500
        Assert.Equal(600, Count(0));
        GoTo(999);
        Assert.Equal(0, _line.Rises);
        GoTo(1000);
        Assert.Equal(1, _line.Rises);
        Assert.Equal(500, Count(0));
        GoTo(1499);
        Assert.Equal(1, _line.Rises);
        GoTo(1500);
        Assert.Equal(2, _line.Rises);
    }

    [Fact]
    public void Counter2IsGatedByPortB()
    {
        // Linux's TSC calibration: gate on, speaker off, mode 0, wait for OUT.
        _pit.PortB.WritePort(0, 1, 1);
        Program(2, 0, 0xFFFF);
        GoTo(1000);
        Assert.Equal(0xFFFF - 1000, Count(2));
        _pit.PortB.WritePort(0, 1, 0);
        GoTo(2000);
        Assert.Equal(0xFFFF - 1000, Count(2));
        _pit.PortB.WritePort(0, 1, 1);
        GoTo(0xFFFF + 999);
        Assert.Equal(0u, _pit.PortB.ReadPort(0, 1) & 0x20);
        GoTo(0xFFFF + 1000);
        Assert.Equal(0x20u, _pit.PortB.ReadPort(0, 1) & 0x20);
        uint before = _pit.PortB.ReadPort(0, 1) & 0x10;
        _clock.Advance(15_085);
        Assert.NotEqual(before, _pit.PortB.ReadPort(0, 1) & 0x10);
    }

    [Fact]
    public void OneShotWaitsForTheGate()
    {
        _pit.PortB.WritePort(0, 1, 0);
        Program(2, 1, 100);
        GoTo(500);
        Assert.Equal(0x80u, Status(2) & 0x80);
        _pit.PortB.WritePort(0, 1, 1);
        GoTo(550);
        Assert.Equal(0u, Status(2) & 0x80);
        GoTo(600);
        Assert.Equal(0x80u, Status(2) & 0x80);
    }

    [Fact]
    public void LatchesHoldUntilRead()
    {
        Program(0, 2, 1000);
        GoTo(100);
        _pit.WritePort(3, 1, 0xC2); // status and count of counter 0
        GoTo(300);
        Assert.Equal(0xB4u, _pit.ReadPort(0, 1));
        Assert.Equal(900u & 0xFF, _pit.ReadPort(0, 1));
        Assert.Equal(900u >> 8, _pit.ReadPort(0, 1));
        Assert.Equal(700u & 0xFF, _pit.ReadPort(0, 1));
    }

    [Fact]
    public void AStalledHostGetsOneInterruptAndGoesOn()
    {
        Program(0, 2, 1000);
        _clock.Skip(At(10_500));
        _clock.Advance(0);
        Assert.Equal(1, _line.Rises);
        GoTo(11_000);
        Assert.Equal(2, _line.Rises);
    }

    [Fact]
    public void StateRoundTripsMidPeriodAndMidWrite()
    {
        Program(0, 2, 1000);
        GoTo(400);
        _pit.WritePort(2, 1, 0x34);
        _pit.WritePort(3, 1, 0xB4);
        _pit.WritePort(2, 1, 0x34); // low byte only
        var line = new RecordingLine();
        var copy = new Pit8254(_clock, line);
        copy.Restore(_pit.Save());
        Assert.Equal(_pit.Save(), copy.Save());
        GoTo(1000);
        Assert.Equal(1, line.Rises);
        copy.PortB.WritePort(0, 1, 1);
        copy.WritePort(2, 1, 0x12);
        copy.WritePort(3, 1, 0x80);
        Assert.Equal(0x34u, copy.ReadPort(2, 1));
        Assert.Equal(0x12u, copy.ReadPort(2, 1));
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        var random = new Random(5);
        Action between = () =>
        {
            _clock.Advance(random.Next(200_000));
            _pit.PortB.WritePort(0, 1, (uint)random.Next(4));
        };
        Probe.FuzzPorts(_pit, 5, between);
        Probe.AllocatesNothing(() =>
        {
            _pit.WritePort(3, 1, 0);
            _pit.ReadPort(0, 1);
            _pit.PortB.ReadPort(0, 1);
            _pit.WritePort(0, 1, 4);
        });
    }
}
