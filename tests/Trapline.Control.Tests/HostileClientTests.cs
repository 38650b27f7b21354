using System.Net.Sockets;
using System.Text;
using Trapline.Agent;
using Trapline.Control.Api;
using Trapline.Machine;

namespace Trapline.Control.Tests;

/// <summary>Broken and hostile clients: they get an error or nothing, the guest goes on and others are answered.</summary>
public sealed class HostileClientTests
{
    private const string Name = ServedMachine.Name;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    [Theory]
    [InlineData("GET /v1/machines HTTP/1.1\r\nHost: x\r\n")] // half a request
    [InlineData("\0\u0001\u0002 what?\r\n\r\n")]
    [InlineData("POST /v1/machines/small/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")]
    [InlineData("POST /v1/machines/small/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: trapline-exec\r\n\r\n")]
    [InlineData("")]
    public async Task WhoStopsInTheMiddleDisturbsNobody(string start)
    {
        await using ServedMachine served = new(FakePrograms.Running((_, _) => Task.FromResult(default(ProgramResult))));
        for (int i = 0; i < 10; i++)
        {
            using Socket socket = await ConnectAsync(served);
            await socket.SendAsync(Encoding.Latin1.GetBytes(start));
        }
        using Socket stays = await ConnectAsync(served);
        await stays.SendAsync(Encoding.Latin1.GetBytes(start));
        await AssertWellAsync(served);
    }

    [Theory]
    [InlineData("POST", "/v1/machines/small/stop", "{\"force\":true,\"now\":1}", 400)]
    [InlineData("POST", "/v1/machines/small/stop", "{\"force\":\"yes\"}", 400)]
    [InlineData("POST", "/v1/machines/small/stop", "{\"patienceSeconds\":1e99}", 400)]
    [InlineData("POST", "/v1/machines/small/stop", "[", 400)]
    [InlineData("POST", "/v1/machines/small/stop", "null null", 400)]
    [InlineData("POST", "/v1/machines/small/exec", "", 426)]
    [InlineData("GET", "/v1/machines/small/stop", "", 405)]
    [InlineData("DELETE", "/v1/machines", "", 405)]
    [InlineData("GET", "/", "", 404)]
    [InlineData("GET", "/v1/machines/..%2f..%2fetc/stats", "", 404)]
    [InlineData("POST", "/v2/machines/small/pause", "", 404)]
    public async Task NonsenseIsAProblemWithOneLine(string method, string path, string body, int status)
    {
        await using ServedMachine served = new();
        string answer = await AskAsync(served, $"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}");
        Assert.StartsWith($"HTTP/1.1 {status} ", answer);
        Assert.Contains("Content-Type: application/problem+json", answer);
        Assert.Contains($"\"status\":{status},\"detail\":\"", answer);
        await AssertWellAsync(served);
    }

    [Fact]
    public async Task HugeBodiesAndHeadersAreRefusedUnread()
    {
        await using ServedMachine served = new();
        Assert.StartsWith("HTTP/1.1 413 ", await AskAsync(served, "POST /v1/machines/small/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n"));
        Assert.StartsWith("HTTP/1.1 431 ", await AskAsync(served, $"GET /v1/machines HTTP/1.1\r\nHost: x\r\nX: {new string('x', 100_000)}\r\n\r\n"));
        await AssertWellAsync(served);
    }

    [Theory]
    [InlineData(FrameType.Stdin)] // before Start
    [InlineData(FrameType.Start)] // without arguments
    [InlineData(FrameType.PowerOff)] // not for clients
    [InlineData((FrameType)0xEE)]
    public async Task ExecFramesThatMakeNoSenseEndTheConnectionAndStartNothing(FrameType type)
    {
        FakePrograms programs = FakePrograms.Running((_, _) => Task.FromResult(default(ProgramResult)));
        await using ServedMachine served = new(programs);
        using Socket socket = await UpgradeAsync(served);
        await socket.SendAsync(Frame.Encode(type, 1));
        Assert.Equal(0, await socket.ReceiveAsync(new byte[1]).WaitAsync(Limit));
        Assert.Equal(0, programs.Runs);
        await AssertWellAsync(served);
    }

    [Fact]
    public async Task InputBeyondItsCreditAndArgumentsBeyondTheLimitEndTheConnection()
    {
        FakePrograms programs = FakePrograms.Running(async (_, self) => new ProgramResult(ProgramEnd.Signalled, await self.Signalled)); // reads nothing
        await using ServedMachine served = new(programs);
        using (Socket greedy = await UpgradeAsync(served))
        {
            await greedy.SendAsync((byte[])[.. Frame.Encode(FrameType.Argument, 1), .. Frame.Encode(FrameType.ArgumentEnd), .. Frame.EncodeStart(ProgramPlace.Pipes, default)]);
            await SendUntilClosedAsync(greedy, Frame.Encode(FrameType.Stdin, new byte[Frame.MaximumPayload]));
        }
        Assert.Equal(1, await programs.Signalled.WaitAsync(Limit));
        await AssertWellAsync(served);
        await Task.Delay(200); // the seat
        using Socket talker = await UpgradeAsync(served);
        await SendUntilClosedAsync(talker, Frame.Encode(FrameType.Argument, new byte[Frame.MaximumPayload]));
        Assert.Equal(1, programs.Runs);
        await AssertWellAsync(served);
    }

    /// <summary>More connections than are served at once: those are closed, and those that come when there is room are answered.</summary>
    [Fact]
    public async Task ManyConnectionsAtOnce()
    {
        await using ServedMachine served = new();
        List<Socket> sockets = [];
        for (int i = 0; i < 300; i++)
            sockets.Add(await ConnectAsync(served));
        Assert.True(await served.RunsAsync());
        sockets.ForEach(s => s.Dispose());
        for (int tries = 0; ; tries++)
        {
            try
            {
                await AssertWellAsync(served);
                return;
            }
            catch (Client.ControlException) when (tries < 100)
            {
                await Task.Delay(50);
            }
        }
    }

    /// <summary>Requests from many sides at once: none waits for ever, and the machine is where the last ones put it.</summary>
    [Fact]
    public async Task AStormOfRequests()
    {
        await using ServedMachine served = new();
        string[] switches = [Routes.Pause, Routes.Resume, Routes.Pause, Routes.Resume];
        await Task.WhenAll(Enumerable.Range(0, 40).Select(async i =>
        {
            await served.Client.SwitchAsync(switches[i % 4], Name);
            await served.Client.ReportAsync(Name);
            await served.Client.ListAsync();
        })).WaitAsync(Limit);
        await served.Client.SwitchAsync(Routes.Resume, Name).WaitAsync(Limit);
        await AssertWellAsync(served);
    }

    private static async Task AssertWellAsync(ServedMachine served)
    {
        Assert.Equal(MachineState.Running, (await served.Client.DescribeAsync(Name).WaitAsync(Limit)).State);
        Assert.Equal(MachineStatus.Running, served.Machine.Status);
        Assert.True(await served.RunsAsync());
    }

    private static async Task<Socket> ConnectAsync(ServedMachine served)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(served.SocketPath)).WaitAsync(Limit);
        return socket;
    }

    private static async Task<Socket> UpgradeAsync(ServedMachine served)
    {
        Socket socket = await ConnectAsync(served);
        await socket.SendAsync(Encoding.ASCII.GetBytes($"POST {Routes.For(Routes.Execute, Name)} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {ExecProtocol.Name}\r\n\r\n"));
        StringBuilder head = new();
        byte[] one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal) && await socket.ReceiveAsync(one).WaitAsync(Limit) > 0)
            head.Append((char)one[0]);
        Assert.StartsWith("HTTP/1.1 101 ", head.ToString());
        return socket;
    }

    private static async Task SendUntilClosedAsync(Socket socket, byte[] frame)
    {
        try
        {
            for (int i = 0; i < 2000; i++)
                await socket.SendAsync(frame).WaitAsync(Limit);
            Assert.Fail("the connection took everything");
        }
        catch (SocketException)
        {
            // Closed, as it should be.
        }
    }

    private static async Task<string> AskAsync(ServedMachine served, string request)
    {
        using Socket socket = await ConnectAsync(served);
        using NetworkStream stream = new(socket);
        await stream.WriteAsync(Encoding.Latin1.GetBytes(request)).AsTask().WaitAsync(Limit);
        StringBuilder answer = new();
        byte[] buffer = new byte[4096];
        try
        {
            int count;
            while ((count = await stream.ReadAsync(buffer).AsTask().WaitAsync(Limit)) > 0)
                answer.Append(Encoding.Latin1.GetString(buffer, 0, count));
        }
        catch (IOException)
        {
            // A server that refuses unread input may reset the connection after its answer.
        }
        return answer.ToString();
    }
}
