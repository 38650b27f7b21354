using Trapline.Core;
using Trapline.Network.Switch;
using Trapline.Testing;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Network.Tests.Switch;

public class NamedSwitchTests
{
    private static readonly MacAddress A = new(0x02_00_00_00_00_0A), B = new(0x02_00_00_00_00_0B);

    private static (NamedSwitch Port, CollectingSink Sink) Join(TemporaryDirectory folder)
    {
        NamedSwitch port = NamedSwitch.Join(folder.File("lan.switch"), _ => { });
        CollectingSink sink = new();
        port.Connect(sink);
        return (port, sink);
    }

    private static byte[] Frame(MacAddress from, MacAddress to, int length = 1_486) => Ethernet(0x0800, new byte[length], from, to);

    [Fact]
    public void WhoKnowsTheNameIsPluggedIn()
    {
        using TemporaryDirectory folder = new();
        (NamedSwitch a, CollectingSink atA) = Join(folder);
        (NamedSwitch b, CollectingSink atB) = Join(folder);
        (NamedSwitch c, CollectingSink atC) = Join(folder);
        using (a)
        using (b)
        using (c)
        {
            Assert.True(a.IsSwitch);
            Assert.False(b.IsSwitch);
            // Who has just plugged in is noticed a moment later.
            Assert.True(SpinWait.SpinUntil(() => b.Send(Frame(B, MacAddress.Broadcast), default) && atC.Take(100) is not null, 10_000));
            Assert.NotNull(atA.Take());
            byte[] toB = Frame(A, B);
            c.Send(toB, default);
            Assert.Equal(toB, atB.Take());
            while (atA.Take(50) is { } heard)
                Assert.NotEqual(toB, heard);
        }
    }

    [Fact]
    public void WhenTheSwitchEndsAnotherOneTakesItsPlace()
    {
        using TemporaryDirectory folder = new();
        (NamedSwitch a, _) = Join(folder);
        (NamedSwitch b, CollectingSink atB) = Join(folder);
        (NamedSwitch c, CollectingSink atC) = Join(folder);
        using (b)
        using (c)
        {
            a.Dispose();
            Assert.True(SpinWait.SpinUntil(() => b.IsSwitch || c.IsSwitch, 10_000));
            Assert.True(SpinWait.SpinUntil(() => b.Send(Frame(A, MacAddress.Broadcast), default) && atC.Take(100) is not null, 10_000));
            c.Send(Frame(B, A), default);
            Assert.NotNull(atB.Take());
            Assert.True(b.IsSwitch != c.IsSwitch);
        }
        Assert.False(File.Exists(folder.File("lan.switch")));
    }

    [Fact]
    public void WhatAKilledProcessLeftIsNoObstacle()
    {
        using TemporaryDirectory folder = new();
        File.WriteAllText(folder.File("lan.switch"), "");
        (NamedSwitch a, _) = Join(folder);
        using (a)
            Assert.True(a.IsSwitch);
    }

    [Fact]
    public void AFolderThatIsNotThereIsSaid() =>
        Assert.StartsWith("network 'socket'", Assert.Throws<BadInputException>(() => NamedSwitch.Join("/nowhere/at/all/lan.switch", _ => { })).Message, StringComparison.Ordinal);
}
