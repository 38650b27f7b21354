using Trapline.Core;
using Trapline.Devices.InterruptControllers;

namespace Trapline.Devices.Tests.InterruptControllers;

public class PicTests
{
    private readonly RecordingLine _intr = new();
    private readonly PicPair _pic;

    public PicTests()
    {
        _pic = new PicPair(_intr);
        Initialize(_pic);
    }

    private static void Initialize(PicPair pic, uint icw4 = 1)
    {
        pic.MasterPorts.WritePort(0, 1, 0x11);
        pic.MasterPorts.WritePort(1, 1, 0x20);
        pic.MasterPorts.WritePort(1, 1, 4);
        pic.MasterPorts.WritePort(1, 1, icw4);
        pic.SlavePorts.WritePort(0, 1, 0x11);
        pic.SlavePorts.WritePort(1, 1, 0x28);
        pic.SlavePorts.WritePort(1, 1, 2);
        pic.SlavePorts.WritePort(1, 1, icw4);
    }

    [Fact]
    public void APulseIsLatchedAndAcknowledgedOnce()
    {
        _pic.Line(1).Pulse();
        Assert.True(_intr.Level);
        Assert.Equal(0x21, _pic.Acknowledge());
        Assert.False(_intr.Level);
        _pic.MasterPorts.WritePort(0, 1, 0x0B);
        Assert.Equal(2u, _pic.MasterPorts.ReadPort(0, 1));
        _pic.MasterPorts.WritePort(0, 1, 0x20);
        Assert.Equal(0u, _pic.MasterPorts.ReadPort(0, 1));
    }

    [Fact]
    public void TheHigherPriorityInterruptsTheLowerOne()
    {
        _pic.Line(4).Pulse();
        Assert.Equal(0x24, _pic.Acknowledge());
        _pic.Line(5).Pulse();
        Assert.False(_intr.Level);
        _pic.Line(0).Pulse();
        Assert.Equal(0x20, _pic.Acknowledge());
        _pic.MasterPorts.WritePort(0, 1, 0x20);
        _pic.MasterPorts.WritePort(0, 1, 0x64); // specific EOI of 4
        Assert.Equal(0x25, _pic.Acknowledge());
    }

    [Fact]
    public void TheSlaveCascadesThroughInput2()
    {
        _pic.Line(14).Pulse();
        Assert.Equal(0x2E, _pic.Acknowledge());
        _pic.Line(3).Pulse();
        Assert.False(_intr.Level);
        _pic.SlavePorts.WritePort(0, 1, 0x20);
        Assert.False(_intr.Level);
        _pic.MasterPorts.WritePort(0, 1, 0x20);
        Assert.Equal(0x23, _pic.Acknowledge());
    }

    [Fact]
    public void ARequestThatWentAwayIsSpurious()
    {
        Assert.Equal(0x27, _pic.Acknowledge());
        _pic.MasterPorts.WritePort(0, 1, 0x0B);
        Assert.Equal(0u, _pic.MasterPorts.ReadPort(0, 1));
        _pic.EdgeLevelPorts.WritePort(1, 1, 0x20);
        _pic.Line(13).Set(true); // bit 5 of the slave is not level-capable: stays an edge
        Assert.Equal(0x2D, _pic.Acknowledge());
    }

    [Fact]
    public void ALevelInputRequestsAgainUntilItFalls()
    {
        _pic.EdgeLevelPorts.WritePort(1, 1, 0x08);
        Assert.Equal(0x08u, _pic.EdgeLevelPorts.ReadPort(1, 1));
        _pic.Line(11).Set(true);
        Assert.Equal(0x2B, _pic.Acknowledge());
        _pic.SlavePorts.WritePort(0, 1, 0x20);
        _pic.MasterPorts.WritePort(0, 1, 0x20);
        Assert.True(_intr.Level);
        _pic.Line(11).Set(false);
        Assert.False(_intr.Level);
    }

    [Fact]
    public void MaskSpecialMaskAndPoll()
    {
        _pic.MasterPorts.WritePort(1, 1, 0xFF);
        _pic.Line(6).Pulse();
        Assert.False(_intr.Level);
        _pic.MasterPorts.WritePort(1, 1, 0x00);
        Assert.True(_intr.Level);
        _pic.MasterPorts.WritePort(0, 1, 0x0C);
        Assert.Equal(0x86u, _pic.MasterPorts.ReadPort(0, 1));
        _pic.Line(7).Pulse();
        Assert.False(_intr.Level);
        _pic.MasterPorts.WritePort(1, 1, 0x40);
        _pic.MasterPorts.WritePort(0, 1, 0x68); // special mask: what is masked no longer blocks
        Assert.Equal(0x27, _pic.Acknowledge());
    }

    [Fact]
    public void AutomaticEoiRotates()
    {
        Initialize(_pic, icw4: 3);
        _pic.MasterPorts.WritePort(0, 1, 0x80);
        _pic.Line(0).Pulse();
        _pic.Line(1).Pulse();
        Assert.Equal(0x20, _pic.Acknowledge());
        _pic.Line(0).Pulse();
        Assert.Equal(0x21, _pic.Acknowledge());
        Assert.Equal(0x20, _pic.Acknowledge());
    }

    [Fact]
    public void StateRoundTripsMidInitialization()
    {
        _pic.Line(1).Pulse();
        _pic.Acknowledge();
        _pic.Line(8).Pulse();
        _pic.Line(0).Pulse();
        _pic.SlavePorts.WritePort(0, 1, 0x11); // the slave expects ICW2 next
        var line = new RecordingLine();
        var copy = new PicPair(line);
        copy.Restore(_pic.Save());
        Assert.Equal(_pic.Save(), copy.Save());
        Assert.True(line.Level);
        copy.SlavePorts.WritePort(1, 1, 0x70);
        copy.SlavePorts.WritePort(1, 1, 2);
        copy.SlavePorts.WritePort(1, 1, 1);
        Assert.Equal(0x20, copy.Acknowledge());
        copy.Line(8).Pulse();
        copy.MasterPorts.WritePort(0, 1, 0x20);
        copy.MasterPorts.WritePort(0, 1, 0x20);
        Assert.Equal(0x70, copy.Acknowledge());
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        var random = new Random(7);
        Action between = () =>
        {
            _pic.Line(random.Next(16)).Set(random.Next(2) == 0);
            Assert.InRange(_pic.Acknowledge(), 0, 255);
        };
        foreach (IPortDevice ports in new[] { _pic.MasterPorts, _pic.SlavePorts, _pic.EdgeLevelPorts })
            Probe.FuzzPorts(ports, 4, between);
        Probe.AllocatesNothing(() =>
        {
            _pic.Line(1).Pulse();
            _pic.MasterPorts.WritePort(0, 1, 0x20);
            _pic.MasterPorts.ReadPort(0, 1);
            _pic.Acknowledge();
        });
    }
}
