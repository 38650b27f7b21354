using System.Text;
using Trapline.Devices.Serial;

namespace Trapline.Devices.Tests.Serial;

public class SerialTests
{
    private readonly ManualClock _clock = new();
    private readonly RecordingLine _line = new();
    private readonly RecordingBackend _backend = new();
    private readonly Serial16550 _uart;

    public SerialTests() => _uart = new Serial16550(_clock, _line, _backend);

    private uint Read(int register) => _uart.ReadPort((ushort)register, 1);

    private void Write(int register, uint value) => _uart.WritePort((ushort)register, 1, value);

    private int Send(string text) => _uart.Receive(Encoding.Latin1.GetBytes(text));

    [Fact]
    public void WritesReachTheBackEnd()
    {
        foreach (char c in "hello\n")
            Write(0, c);
        Assert.Equal("hello\n", _backend.Text);
        Assert.Equal(0x60u, Read(5));
        Assert.Equal(0xB0u, Read(6));
        Assert.Same(_uart, _backend.Sink);
    }

    [Fact]
    public void RegistersHoldWhatTheyShould()
    {
        Write(3, 0x83);
        Write(0, 1);
        Write(1, 0);
        Assert.Equal(1u, Read(0));
        Write(3, 3);
        Write(7, 0xA5);
        Assert.Equal(0xA5u, Read(7));
        Write(1, 0xFF);
        Assert.Equal(0x0Fu, Read(1));
        Write(4, 0xFF);
        Assert.Equal(0x1Fu, Read(4));
        Assert.Equal("", _backend.Text);
        Write(2, 1);
        Assert.Equal(0xC0u, Read(2) & 0xC0); // how drivers tell a 16550A
    }

    [Fact]
    public void TransmitInterruptIsClearedByReadingItsIdentification()
    {
        Assert.Equal(1u, Read(2));
        Write(1, 2);
        Assert.True(_line.Level);
        Assert.Equal(2u, Read(2));
        Assert.False(_line.Level);
        Assert.Equal(1u, Read(2));
        Write(0, 'x');
        Assert.True(_line.Level);
        Write(1, 0);
        Assert.False(_line.Level);
    }

    [Fact]
    public void ReceiveTriggersAtItsLevelAndTimesOutBelow()
    {
        Write(2, 0x81); // trigger at eight
        Write(1, 1);
        Assert.Equal(7, Send("1234567"));
        Assert.False(_line.Level);
        Assert.Equal(0x61u, Read(5));
        _clock.Advance(4 * 160 * 12 * 1_000_000_000L / 1_843_200);
        Assert.Equal(0xCCu, Read(2));
        Assert.Equal('1', (char)Read(0));
        Assert.False(_line.Level);
        Send("89");
        Assert.Equal(0xC4u, Read(2));
        Assert.Equal("23456789", string.Concat(Enumerable.Range(0, 8).Select(_ => (char)Read(0))));
        Assert.Equal(0x60u, Read(5));
    }

    [Fact]
    public void InputBeyondTheFifoIsOfferedAgain()
    {
        int offers = 0;
        _uart.RoomAvailable += () => offers++;
        Write(2, 1);
        Assert.Equal(16, Send("0123456789abcdefXYZ"));
        Assert.Equal(0, Send("XYZ"));
        Assert.Equal(0, offers);
        Read(0);
        Assert.Equal(1, offers);
        Assert.Equal(1, Send("XYZ"));
        Write(2, 3); // FIFO reset makes room too
        Assert.Equal(2, offers);
    }

    [Fact]
    public void LoopbackConnectsDataAndModemLines()
    {
        Write(4, 0x1A);
        Assert.Equal(0x90u, Read(6) & 0xF0);
        Write(0, 0x5A);
        Assert.Equal("", _backend.Text);
        Assert.Equal(0x61u, Read(5));
        Write(0, 0x5B);
        Assert.Equal(0x63u, Read(5)); // overrun
        Assert.Equal(0x61u, Read(5));
        Assert.Equal(0x5Bu, Read(0));
        Read(6);
        Write(1, 8);
        Write(4, 0x1B);
        Assert.Equal(0u, Read(2));
        Assert.Equal(0xB2u, Read(6));
        Assert.Equal(1u, Read(2));
        Assert.Equal(0, Send("a"));
        Write(4, 3);
        Assert.Equal(1, Send("a"));
    }

    [Fact]
    public void ErrorsComeBeforeDataInPriority()
    {
        Write(1, 7);
        Write(4, 0x10);
        Write(0, 1);
        Write(0, 2);
        Assert.Equal(6u, Read(2));
        Read(5);
        Assert.Equal(4u, Read(2));
        Read(0);
        Assert.Equal(2u, Read(2));
        Assert.Equal(1u, Read(2));
    }

    [Fact]
    public void StateRoundTripsWithDataWaiting()
    {
        Write(2, 0x81);
        Write(1, 1);
        Send("xxab");
        Read(0);
        Read(0);
        var line = new RecordingLine();
        var copy = new Serial16550(_clock, line, new RecordingBackend());
        copy.Restore(_uart.Save());
        Assert.False(line.Level);
        _clock.Advance(10_000_000);
        Assert.True(line.Level);
        Assert.Equal('a', (char)copy.ReadPort(0, 1));
        Assert.Equal('b', (char)copy.ReadPort(0, 1));
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        byte[] input = new byte[5];
        Action between = () =>
        {
            _uart.Receive(input);
            _clock.Advance(100_000);
        };
        Probe.FuzzPorts(_uart, 10, between);
        Probe.AllocatesNothing(() =>
        {
            Write(3, 3);
            Write(0, 'x');
            Read(5);
            Read(2);
            _uart.Receive(input);
            Read(0);
        });
    }
}
