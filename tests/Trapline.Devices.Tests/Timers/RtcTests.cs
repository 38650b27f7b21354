using Trapline.Devices.Timers;

namespace Trapline.Devices.Tests.Timers;

public class RtcTests
{
    private const long Second = 1_000_000_000;
    private readonly ManualClock _clock = new();
    private readonly RecordingLine _line = new();
    private readonly RtcCmos _rtc;

    public RtcTests() => _rtc = new RtcCmos(_clock, _line);

    private uint Read(int index)
    {
        _rtc.WritePort(0, 1, (uint)index);
        return _rtc.ReadPort(1, 1);
    }

    private void Write(int index, uint value)
    {
        _rtc.WritePort(0, 1, (uint)index);
        _rtc.WritePort(1, 1, value);
    }

    [Fact]
    public void TellsTheClocksTimeInBothFormats()
    {
        Assert.Equal([0x50u, 0x59u, 0x23u, 0x04u, 0x28u, 0x02u, 0x24u, 0x20u],
            new[] { 0, 2, 4, 6, 7, 8, 9, 0x32 }.Select(Read));
        Write(11, 4);
        Assert.Equal([50u, 59u, 0x80u | 11], new[] { 0, 2, 4 }.Select(Read));
        _clock.Advance(15 * Second); // into a leap day, and midnight in 12-hour form
        Assert.Equal([5u, 0u, 12u, 29u, 2u], new[] { 0, 2, 4, 7, 8 }.Select(Read));
    }

    [Fact]
    public void SettingMovesTheTimeAndItRunsOn()
    {
        Write(11, 0x82);
        foreach ((int index, uint value) in new[] { (0, 0x58u), (2, 0x59u), (4, 0x23u), (7, 0x31u), (8, 0x12u), (9, 0x99u), (0x32, 0x19u) })
            Write(index, value);
        _clock.Advance(5 * Second);
        Assert.Equal(0x58u, Read(0)); // held while SET
        Write(11, 0x02);
        _clock.Advance(2 * Second);
        Assert.Equal([0u, 0u, 0u, 1u, 1u, 0u, 0x20u], new[] { 0, 2, 4, 7, 8, 9, 0x32 }.Select(Read));
    }

    [Fact]
    public void UpdateInProgressShowsBeforeTheSecond()
    {
        Assert.Equal(0x26u, Read(10));
        _clock.Advance(Second - 200_000);
        Assert.Equal(0xA6u, Read(10));
        _clock.Advance(200_000);
        Assert.Equal(0x26u, Read(10));
    }

    [Fact]
    public void PeriodicInterruptRunsAtItsRate()
    {
        Write(11, 0x42); // 1,024 Hz
        _clock.Advance((Second / 1024) + 1);
        Assert.True(_line.Level);
        Assert.Equal(0xC0u, Read(12));
        Assert.False(_line.Level);
        int before = _line.Rises;
        for (int i = 0; i < 1024; i++)
        {
            _clock.Advance((Second / 1024) + (i % 2));
            Read(12);
        }
        Assert.InRange(_line.Rises - before, 1023, 1025);
        Write(11, 2);
        Assert.False(_clock.AnyArmed);
    }

    [Fact]
    public void AlarmAndUpdateInterrupts()
    {
        Write(1, 0x55);
        Write(3, 0xC0);
        Write(5, 0xFF);
        Write(11, 0x22);
        _clock.Advance((5 * Second) - 1);
        Assert.False(_line.Level);
        _clock.Advance(1);
        Assert.True(_line.Level);
        Assert.Equal(0xA0u, Read(12) & 0xA0);
        Write(11, 0x12);
        Read(12);
        _clock.Advance(Second);
        Assert.Equal(0x90u, Read(12) & 0xB0);
    }

    [Fact]
    public void CmosRamAndNmiMask()
    {
        _rtc.SetCmos(0x34, 0x7F);
        Assert.Equal(0x7Fu, Read(0x34));
        Write(0x40 | 0x80, 0x5A);
        Assert.True(_rtc.NmiMasked);
        Assert.Equal(0x5Au, Read(0x40));
        Assert.False(_rtc.NmiMasked);
        Assert.Equal(0x80u, Read(13));
    }

    [Fact]
    public void StateRoundTripsWithAnAlarmSet()
    {
        Write(1, 0x55);
        Write(3, 0x59);
        Write(5, 0x23);
        Write(11, 0x22);
        _clock.Advance(2 * Second);
        var line = new RecordingLine();
        var copy = new RtcCmos(_clock, line);
        copy.Restore(_rtc.Save());
        _clock.Advance((3 * Second) - 1);
        Assert.False(line.Level);
        _clock.Advance(1);
        Assert.True(line.Level);
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        var random = new Random(5);
        Probe.FuzzPorts(_rtc, 3, () => _clock.Advance(random.Next(2_000_000)));
        Probe.FuzzPorts(_rtc, 2, () => _clock.Skip(random.NextInt64(100 * Second)), seed: 2, rounds: 2000);
        _rtc.Reset();
        Probe.AllocatesNothing(() =>
        {
            Read(0);
            Read(10);
            Read(12);
            Write(0, 3);
        });
    }
}
