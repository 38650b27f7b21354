using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Trapline.Core;
using Trapline.Network.Filter;
using Trapline.Network.Passt;
using Trapline.Testing;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Network.Tests.Filter;

public class FilteredBackendTests
{
    private const string Us = PasstOptions.Guest4, Gateway = PasstOptions.Gateway4;

    [FactNeeding("passt")]
    public void TheHostsPortThatIsAllowedAnswersAndNoOtherDoes()
    {
        using TcpListener open = new(IPAddress.Loopback, 0), closed = new(IPAddress.Loopback, 0);
        open.Start();
        closed.Start();
        int allowed = ((IPEndPoint)open.LocalEndpoint).Port, forbidden = ((IPEndPoint)closed.LocalEndpoint).Port;
        using INetworkBackend backend = UserNetwork.Start([], AllowList.Parse("", [$"gateway:{allowed}"]), _ => { }, out _);
        CollectingSink sink = new();
        backend.Connect(sink);
        Assert.False(backend.Send(Ip4(Tcp, Us, Gateway, TcpSegment(4000, forbidden, 1, 0, Syn)), default));
        Assert.True(backend.Send(Ip4(Tcp, Us, Gateway, TcpSegment(4001, allowed, 1, 0, Syn)), default));
        byte[] answer = Assert.IsType<byte[]>(sink.Take());
        Assert.Equal(4001, BinaryPrimitives.ReadUInt16BigEndian(answer.AsSpan(36)));
        Assert.Equal(Syn | Ack, answer[47]);
        Assert.Null(sink.Take(100));
    }

    [FactNeeding("passt")]
    public void ANameThatIsNotAllowedIsRefusedAtOnce()
    {
        using INetworkBackend backend = UserNetwork.Start([], AllowList.Parse("", ["example.org:443"]), _ => { }, out _);
        CollectingSink sink = new();
        backend.Connect(sink);
        byte[] question = DnsPackets.Question("example.com");
        Assert.True(backend.Send(Ip4(Udp, Us, Gateway, UdpDatagram(5000, 53, question)), default));
        byte[] answer = Assert.IsType<byte[]>(sink.Take());
        Assert.Equal(Guest, MacAddress.Read(answer));
        Packet packet = Packet.Parse(answer);
        Assert.Equal((PacketKind.Udp, (ushort)53, (ushort)5000), (packet.Kind, packet.SourcePort, packet.DestinationPort));
        Assert.Equal(IPAddress.Parse(Gateway), new IPAddress(answer.AsSpan(26, 4)));
        Assert.Equal(IPAddress.Parse(Us), new IPAddress(answer.AsSpan(30, 4)));
        Assert.Equal(0xFFFF, Sum(answer.AsSpan(14, 20)));
        byte[] message = answer[packet.Payload..packet.End];
        Assert.Equal(question[..2], message[..2]);
        Assert.Equal(0x80, message[2] & 0x80);
        Assert.Equal(5, message[3] & 0xF);
        Assert.Equal(question[12..], message[12..]);
    }
}
