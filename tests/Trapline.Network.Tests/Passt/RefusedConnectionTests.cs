using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Trapline.Network.Passt;
using Trapline.Testing;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Network.Tests.Passt;

/// <summary>A guest learns at once that a port is closed, whatever passt's age.</summary>
public sealed class RefusedConnectionTests
{
    private const string Us = PasstOptions.Guest4, Gateway = PasstOptions.Gateway4;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TheResetAcknowledgesAndItsChecksumStaysRight(bool ip6)
    {
        byte[] segment = TcpSegment(80, 40_000, 0xdead_beef, 0x1234_5678, Reset);
        byte[] frame = ip6 ? Ip6(Tcp, "fe80::1", "fe80::2", segment) : Ip4(Tcp, Gateway, Us, segment);
        int tcp = frame.Length - 20;
        uint pseudo = Sum(frame.AsSpan(ip6 ? 14 + 8 : 14 + 12, ip6 ? 32 : 8), Tcp + 20u);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(tcp + 16), (ushort)~Sum(frame.AsSpan(tcp), pseudo));
        Assert.True(RefusedConnection.Is(frame));
        RefusedConnection.Repair(frame);
        Assert.Equal(Reset | Ack, frame[tcp + 13]);
        Assert.Equal(0xFFFF, Sum(frame.AsSpan(tcp), pseudo));
        Assert.False(RefusedConnection.Is(frame));
    }

    [Fact]
    public void OthersAreLeftAlone()
    {
        Assert.False(RefusedConnection.Is(Ip4(Tcp, Gateway, Us, TcpSegment(80, 40_000, 5, 0, Reset)))); // acknowledges nothing
        Assert.False(RefusedConnection.Is(Ip4(Tcp, Gateway, Us, TcpSegment(80, 40_000, 5, 7, Reset | Ack))));
        Assert.False(RefusedConnection.Is(Ip4(Tcp, Gateway, Us, TcpSegment(80, 40_000, 5, 7, Syn | Ack))));
        Assert.False(RefusedConnection.Is(Ip4(Udp, Gateway, Us, TcpSegment(80, 40_000, 5, 7, Reset))));
        byte[] whole = Ip4(Tcp, Gateway, Us, TcpSegment(80, 40_000, 5, 7, Reset));
        for (int length = 0; length < whole.Length; length++)
            Assert.False(RefusedConnection.Is(whole.AsSpan(0, length)));
    }

    [FactNeeding("passt")]
    public void PasstsOwnAnswerIsOne()
    {
        using TcpListener taken = new(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        taken.Stop(); // nobody listens there now
        CollectingSink sink = new();
        using PasstBackend backend = PasstBackend.Start(new PasstOptions(), _ => { });
        backend.Connect(sink);
        backend.Send(ArpFrame.Question(Guest, IPAddress.Parse(Us), IPAddress.Parse(Gateway)), default);
        sink.TakeWhole();
        backend.Send(Ip4(Tcp, Us, Gateway, TcpSegment(40_000, port, 1, 0, Syn)), default);
        byte[] answer = sink.TakeWhole().Frame;
        Assert.Equal(Reset | Ack, answer[14 + 20 + 13] & (Reset | Ack | Syn));
    }
}
