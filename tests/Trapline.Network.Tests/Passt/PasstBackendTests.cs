using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Trapline.Core;
using Trapline.Network.Passt;
using Trapline.Testing;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Network.Tests.Passt;

/// <summary>passt itself, spoken to with frames made by hand. Only the loopback address is ever reached.</summary>
public sealed class PasstBackendTests
{
    private const string Us = PasstOptions.Guest4, Gateway = PasstOptions.Gateway4;

    private static (PasstBackend Backend, CollectingSink Sink, List<string> Reports) Start(params PublishedPort[] published)
    {
        List<string> reports = [];
        PasstBackend backend = PasstBackend.Start(new PasstOptions { Published = published }, reports.Add);
        CollectingSink sink = new();
        backend.Connect(sink);
        return (backend, sink, reports);
    }

    private static byte[] Question() => ArpFrame.Question(Guest, IPAddress.Parse(Us), IPAddress.Parse(Gateway));

    private static bool IsTcp(byte[] frame) => frame.Length > 54 - 1 && frame[12] == 8 && frame[23] == Tcp;

    private static int FreePort()
    {
        using TcpListener probe = new(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    [FactNeeding("passt")]
    public void TheGatewayAnswersAndItsFramesAreMarkedCorrect()
    {
        (PasstBackend backend, CollectingSink sink, _) = Start();
        using (backend)
        {
            Assert.True(backend.Send(Question(), default));
            (byte[] answer, FrameOffload offload) = sink.TakeWhole();
            Assert.Equal(Guest, MacAddress.Read(answer));
            Assert.Equal(PasstOptions.Gateway, MacAddress.Read(answer.AsSpan(22)));
            Assert.Equal(FrameOffloads.ChecksumIsValid, offload.Undone);
        }
    }

    /// <summary>This is what lets the guest leave its checksums to us.</summary>
    [FactNeeding("passt")]
    public async Task ChecksumsMayBeLeftUndoneAndLongSegmentsUncut()
    {
        using TcpListener server = new(IPAddress.Loopback, 0);
        server.Start();
        int port = ((IPEndPoint)server.LocalEndpoint).Port;
        (PasstBackend backend, CollectingSink sink, _) = Start();
        using (backend)
        {
            backend.Send(Ip4(Tcp, Us, Gateway, TcpSegment(4000, port, 1000, 0, Syn)), default);
            byte[] answer = Assert.IsType<byte[]>(sink.Take(IsTcp));
            Assert.Equal(Syn | Ack, answer[47]);
            Assert.True(HasRightChecksum(answer));
            uint next = BinaryPrimitives.ReadUInt32BigEndian(answer.AsSpan(38)) + 1;
            backend.Send(Ip4(Tcp, Us, Gateway, TcpSegment(4000, port, 1001, next, Ack)), default);
            using TcpClient client = await server.AcceptTcpClientAsync().WaitAsync(TimeSpan.FromSeconds(10));

            // Much longer than any wire's packet: as a card hands it over whose driver has left the cutting to it.
            byte[] data = new byte[40_000];
            new Random(1).NextBytes(data);
            backend.Send(Ip4(Tcp, Us, Gateway, TcpSegment(4000, port, 1001, next, Ack | Push, data)), new FrameOffload(FrameOffloads.Checksum | FrameOffloads.TcpSegments4, 34, 16, 1460, 54));
            byte[] got = new byte[data.Length];
            await client.GetStream().ReadExactlyAsync(got).AsTask().WaitAsync(TimeSpan.FromSeconds(10));
            Assert.Equal(data, got);

            await client.GetStream().WriteAsync("from the host"u8.ToArray());
            byte[] segment = Assert.IsType<byte[]>(sink.Take(f => IsTcp(f) && f.Length > 54));
            Assert.Equal("from the host", Encoding.ASCII.GetString(segment.AsSpan(54)));
            Assert.True(HasRightChecksum(segment));
        }
    }

    [FactNeeding("passt")]
    public async Task APublishedPortLeadsToTheGuest()
    {
        int port = FreePort();
        (PasstBackend backend, CollectingSink sink, _) = Start(new PublishedPort(IPAddress.Loopback, port, 80));
        using (backend)
        {
            backend.Send(Question(), default); // passt learns the guest's card
            using TcpClient client = new();
            Task connected = client.ConnectAsync(IPAddress.Loopback, port);
            byte[] opening = Assert.IsType<byte[]>(sink.Take(IsTcp));
            Assert.Equal(Guest, MacAddress.Read(opening));
            Assert.Equal(Syn, opening[47]);
            Assert.Equal(80, BinaryPrimitives.ReadUInt16BigEndian(opening.AsSpan(36)));
            Assert.Equal(IPAddress.Parse(Gateway), new IPAddress(opening.AsSpan(26, 4)));
            await connected.WaitAsync(TimeSpan.FromSeconds(10));
        }
    }

    [FactNeeding("passt")]
    public void APortThatIsTakenIsSaidAtOnce()
    {
        using TcpListener taken = new(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        BadInputException complaint = Assert.Throws<BadInputException>(() => Start(new PublishedPort(IPAddress.Loopback, port, 80)));
        Assert.Contains($"127.0.0.1:{port}:80", complaint.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', complaint.Message);
    }

    [FactNeeding("passt")]
    public void ALostPasstTakesTheCableOutAndIsToldOnce()
    {
        (PasstBackend backend, CollectingSink sink, List<string> reports) = Start();
        using (backend)
        {
            backend.Send(Question(), default);
            Assert.NotNull(sink.Take());
            using Process process = Process.GetProcessById(backend.ProcessId);
            process.Kill();
            Assert.True(SpinWait.SpinUntil(() => reports.Count > 0, 10_000));
            Assert.False(sink.LinkIsUp);
            Assert.False(backend.Send(Question(), default));
        }
        Assert.Matches("^the network is gone: .*; the guest goes on without it$", Assert.Single(reports));
    }

    [FactNeeding("passt")]
    public void PasstEndsWithItsBackEnd()
    {
        (PasstBackend backend, CollectingSink sink, List<string> reports) = Start();
        backend.Send(Question(), default);
        Assert.NotNull(sink.Take());
        int process = backend.ProcessId;
        Assert.True(Directory.Exists($"/proc/{process}"));
        backend.Dispose();
        Assert.False(Directory.Exists($"/proc/{process}"));
        Assert.Empty(reports);
    }

    [FactNeeding("passt")]
    public void AGuestWithoutRoomGetsItsFramesLater()
    {
        (PasstBackend backend, CollectingSink sink, _) = Start();
        using (backend)
        {
            sink.IsFull = true;
            for (int i = 0; i < 20; i++)
                Assert.True(backend.Send(Question(), default));
            Assert.True(SpinWait.SpinUntil(() => sink.Refused > 0, 5_000));
            Assert.Null(sink.Take(50));
            sink.MakeRoom();
            for (int i = 0; i < 20; i++)
                Assert.NotNull(sink.Take());
        }
    }
}
