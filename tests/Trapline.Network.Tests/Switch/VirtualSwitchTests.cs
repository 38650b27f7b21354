using Trapline.Core;
using Trapline.Network.Switch;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Network.Tests.Switch;

public class VirtualSwitchTests
{
    private static readonly MacAddress A = new(0x02_00_00_00_00_0A), B = new(0x02_00_00_00_00_0B);

    private static (INetworkBackend Port, CollectingSink Sink) Plug(VirtualSwitch lan)
    {
        INetworkBackend port = lan.Connect();
        CollectingSink sink = new();
        port.Connect(sink);
        return (port, sink);
    }

    private static byte[] Frame(MacAddress from, MacAddress to) => Ethernet(0x0800, new byte[46], from, to);

    [Fact]
    public void FramesForAKnownCardGoThereAlone()
    {
        VirtualSwitch lan = new();
        (INetworkBackend a, CollectingSink atA) = Plug(lan);
        (INetworkBackend b, CollectingSink atB) = Plug(lan);
        (_, CollectingSink atC) = Plug(lan);

        Assert.True(a.Send(Frame(A, B), default)); // nobody knows B yet
        Assert.Equal((0, 1, 1), (atA.Count, atB.Count, atC.Count));
        Assert.True(b.Send(Frame(B, A), default)); // A has spoken
        Assert.Equal((1, 1, 1), (atA.Count, atB.Count, atC.Count));
        Assert.True(a.Send(Frame(A, B), default));
        Assert.Equal((1, 2, 1), (atA.Count, atB.Count, atC.Count));
        Assert.True(a.Send(Frame(A, MacAddress.Broadcast), default));
        Assert.Equal((1, 3, 2), (atA.Count, atB.Count, atC.Count));
    }

    [Fact]
    public void ACardThatMovesIsFoundAgain()
    {
        VirtualSwitch lan = new();
        (INetworkBackend a, _) = Plug(lan);
        (INetworkBackend before, CollectingSink atBefore) = Plug(lan);
        (INetworkBackend after, CollectingSink atAfter) = Plug(lan);
        before.Send(Frame(B, A), default);
        after.Send(Frame(B, A), default);
        (int before1, int after1) = (atBefore.Count, atAfter.Count);
        a.Send(Frame(A, B), default);
        Assert.Equal((before1, after1 + 1), (atBefore.Count, atAfter.Count));
        after.Dispose();
        a.Send(Frame(A, B), default); // forgotten with its port: to all
        Assert.Equal((before1 + 1, after1 + 1), (atBefore.Count, atAfter.Count));
    }

    [Fact]
    public void WorkIsLeftUndoneOnlyIfEverybodyElseTakesIt()
    {
        VirtualSwitch lan = new();
        (INetworkBackend a, CollectingSink atA) = Plug(lan);
        (INetworkBackend b, CollectingSink atB) = Plug(lan);
        atA.Accepts = FrameOffloads.Checksum | FrameOffloads.TcpSegments4 | FrameOffloads.ChecksumIsValid;
        atB.Accepts = FrameOffloads.Checksum;
        Assert.Equal(atB.Accepts, a.Accepts);
        Assert.Equal(atA.Accepts, b.Accepts);
        FrameOffload undone = new(FrameOffloads.Checksum | FrameOffloads.TcpSegments4, 34, 16, 1448, 54);
        b.Send(Frame(B, A), undone);
        Assert.Equal(undone, atA.TakeWhole().Offload);
    }

    [Fact]
    public void AGuestThatHasNoRoomIsWaitedForOnceAndNotAgain()
    {
        VirtualSwitch lan = new();
        (INetworkBackend a, _) = Plug(lan);
        (INetworkBackend b, CollectingSink atB) = Plug(lan);
        b.Send(Frame(B, A), default);
        atB.IsFull = true;
        Assert.False(a.Send(Frame(A, B), default));
        long start = Environment.TickCount64;
        for (int i = 0; i < 1_000; i++)
            Assert.False(a.Send(Frame(A, B), default));
        Assert.InRange(Environment.TickCount64 - start, 0, 2_000);
        atB.MakeRoom();
        Assert.True(a.Send(Frame(A, B), default));
    }

    [Fact]
    public async Task ASenderGoesOnAsSoonAsThereIsRoom()
    {
        VirtualSwitch lan = new();
        (INetworkBackend a, _) = Plug(lan);
        (INetworkBackend b, CollectingSink atB) = Plug(lan);
        b.Send(Frame(B, A), default);
        bool sent = false;
        for (int attempt = 0; attempt < 50 && !sent; attempt++)
        {
            atB.IsFull = true;
            int refused = atB.Refused;
            Task<bool> sending = Task.Run(() => a.Send(Frame(A, B), default));
            SpinWait.SpinUntil(() => atB.Refused > refused || sending.IsCompleted, 5_000);
            atB.MakeRoom();
            sent = await sending;
        }
        Assert.True(sent);
    }

    [Fact]
    public void TheTableHasAnEndAndSilentCardsAreForgotten()
    {
        AddressTable table = new(4);
        SwitchPort port = new(new VirtualSwitch());
        for (ulong i = 0; i < 10; i++)
            table.Learn(new MacAddress(i * 2), port, 0);
        Assert.Equal(4, table.Count);
        Assert.Same(port, table.Find(new MacAddress(6), 0));
        Assert.Null(table.Find(new MacAddress(8), 0));
        Assert.Null(table.Find(new MacAddress(6), AddressTable.AgeMilliseconds));
        table.Learn(new MacAddress(100), port, AddressTable.AgeMilliseconds);
        Assert.Same(port, table.Find(new MacAddress(100), AddressTable.AgeMilliseconds));
        Assert.Equal(4, table.Count);
    }

    [Fact]
    public void ALiarCannotFillTheSwitch()
    {
        VirtualSwitch lan = new();
        (INetworkBackend a, _) = Plug(lan);
        for (ulong i = 0; i < 5_000; i++)
            a.Send(Frame(new MacAddress(0x02_00_00_00_00_00 + i), B), default);
        Assert.Equal(1_024, lan.Cards);
        Assert.False(a.Send([1, 2, 3], default));
    }

    [Fact]
    public void ThereAreOnlySoManyPorts()
    {
        VirtualSwitch lan = new();
        INetworkBackend[] ports = [.. Enumerable.Range(0, 64).Select(_ => lan.Connect())];
        Assert.Throws<BadInputException>(lan.Connect);
        ports[7].Dispose();
        lan.Connect().Dispose();
    }
}
