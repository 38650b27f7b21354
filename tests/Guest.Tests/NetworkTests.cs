using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Trapline;
using Trapline.Agent;
using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;
using Trapline.Network;
using Trapline.Network.Filter;
using Trapline.Network.Switch;
using Trapline.Networks;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>Linux on its networks. Only the host's loopback address is ever spoken to.</summary>
[Collection("guests")]
public sealed class NetworkTests
{
    private const int DownloadBytes = 64 << 20;

    /// <summary>busybox's nc ends its half of a connection with its input: descriptor 3 is one that does not end.</summary>
    private const string OpenInput = "mkfifo /tmp/open 2>/dev/null; exec 3<>/tmp/open; ";

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private static async Task<VirtualMachine> BootAsync(string engine, NetworkDevice card)
    {
        GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
        VirtualMachine machine = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification { Devices = new DeviceSpecification { Networks = [card] }, Cpu = new CpuSpecification { Engine = engine } });
        machine.Start();
        return machine;
    }

    private static async Task<(int Status, string Said)> RunAsync(VirtualMachine machine, string script)
    {
        using MemoryStream output = new();
        ProgramResult result = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-c", OpenInput + script + "; exit $?") with { Stdout = output, Stderr = output }).WaitAsync(Limit);
        Assert.Equal(ProgramEnd.Exited, result.End);
        return (result.Value, Encoding.UTF8.GetString(output.ToArray()).Trim());
    }

    private static async Task<string> AskAsync(VirtualMachine machine, string script)
    {
        (int status, string said) = await RunAsync(machine, script);
        Assert.True(status == 0, $"{script}: {status}: {said}");
        return said;
    }

    /// <summary>Sends whoever connects the same bytes and closes.</summary>
    private static TcpListener Serve(byte[] content, out int port)
    {
        TcpListener server = new(IPAddress.Loopback, 0);
        server.Start();
        port = ((IPEndPoint)server.LocalEndpoint).Port;
        _ = Task.Run(async () =>
        {
            try
            {
                while (true)
                {
                    using TcpClient client = await server.AcceptTcpClientAsync();
                    await client.GetStream().WriteAsync(content);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or IOException)
            {
                // The test is over.
            }
        });
        return server;
    }

    private static int FreePort()
    {
        using TcpListener probe = new(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    /// <summary>Says a line to a port of the host's and returns the line that is said; nothing if nobody listens in the guest yet.</summary>
    private static async Task<string> SayAsync(int port, string text)
    {
        using TcpClient client = new();
        try
        {
            await client.ConnectAsync(IPAddress.Loopback, port);
            await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(text));
            return await new StreamReader(client.GetStream()).ReadLineAsync().WaitAsync(Limit) ?? "";
        }
        catch (Exception e) when (e is SocketException or IOException or InvalidOperationException)
        {
            await Task.Delay(50);
            return "";
        }
    }

    [GuestTheory("passt")]
    [InlineData("translator")]
    public async Task AUsersNetworkCarriesMuchBothWaysAndIntoCopies(string engine)
    {
        byte[] content = new byte[DownloadBytes];
        new Random(1).NextBytes(content);
        using TcpListener server = Serve(content, out int port);
        int published = FreePort();
        NetworkDevice card = new NetworkConnection { Published = [new PublishedPort(IPAddress.Loopback, published, 80)] }.Open(NetworkSpecification.User);
        using INetworkBackend backend = card.Backend;
        using VirtualMachine machine = await BootAsync(engine, card);

        Assert.StartsWith(Convert.ToHexStringLower(SHA256.HashData(content)), await AskAsync(machine, $"nc 10.0.2.2 {port} <&3 | sha256sum"), StringComparison.Ordinal);

        // Who connects to the published port is told what the guest has, and the other way round.
        Task<string> heard = AskAsync(machine, "echo from the guest >&3; nc -l -p 80 <&3");
        string answer = "";
        while (answer.Length == 0 && !heard.IsCompleted)
            answer = await SayAsync(published, "from the host\n");
        Assert.Equal("from the guest", answer);
        Assert.Equal("from the host", await heard);

        string address = await AskAsync(machine, "cat /sys/class/net/eth0/address");
        int copys = FreePort();
        using VirtualMachine copy = (await machine.ForkAsync(1, published: [$"{copys}:80"]))[0];
        Assert.NotEqual(address, await AskAsync(copy, "cat /sys/class/net/eth0/address"));
        Assert.Equal(DownloadBytes.ToString(System.Globalization.CultureInfo.InvariantCulture), await AskAsync(copy, $"nc 10.0.2.2 {port} <&3 | wc -c"));
        Assert.Equal(address, await AskAsync(machine, "cat /sys/class/net/eth0/address"));

        // The copy's port leads to the copy.
        heard = AskAsync(copy, "echo from the copy >&3; nc -l -p 80 <&3");
        answer = "";
        while (answer.Length == 0 && !heard.IsCompleted)
            answer = await SayAsync(copys, "to the copy\n");
        Assert.Equal(("from the copy", "to the copy"), (answer, await heard));
    }

    [GuestTheory("passt")]
    [InlineData("translator")]
    public async Task WhatIsNotAllowedIsNotReached(string engine)
    {
        using TcpListener open = Serve("open"u8.ToArray(), out int allowed), closed = Serve("closed"u8.ToArray(), out int forbidden);
        NetworkDevice card = new NetworkConnection().Open(NetworkSpecification.User with { Allow = AllowList.Parse("", [$"gateway:{allowed}"]) });
        using INetworkBackend backend = card.Backend;
        using VirtualMachine machine = await BootAsync(engine, card);
        Assert.Equal("open", await AskAsync(machine, $"nc 10.0.2.2 {allowed} <&3"));
        (int status, string said) = await RunAsync(machine, $"timeout 2 nc 10.0.2.2 {forbidden} <&3");
        Assert.NotEqual(0, status);
        Assert.DoesNotContain("closed", said, StringComparison.Ordinal);
        (status, said) = await RunAsync(machine, "nslookup example.org");
        Assert.NotEqual(0, status);
        Assert.Contains("REFUSED", said, StringComparison.Ordinal);
    }

    [GuestFact]
    public async Task TwoMachinesOnASwitchSeeOneAnother()
    {
        VirtualSwitch lan = new();
        using INetworkBackend first = lan.Connect(), second = lan.Connect();
        using VirtualMachine a = await BootAsync(Engines.Default, new NetworkDevice("lan", first, MacAddress.Random(), new GuestAddresses("192.168.7.1/24")));
        using VirtualMachine b = await BootAsync(Engines.Default, new NetworkDevice("lan", second, MacAddress.Random(), new GuestAddresses("192.168.7.2/24")));
        Assert.Contains("2 packets received", await AskAsync(b, "ping -c 2 192.168.7.1 || ping -c 2 192.168.7.1"), StringComparison.Ordinal);
        Task<string> sum = AskAsync(a, "nc -l -p 7 <&3 | sha256sum");
        const string made = "dd if=/dev/zero bs=1M count=16 2>/dev/null";
        string sent = await AskAsync(b, $"until {made} | nc 192.168.7.1 7 2>/dev/null; do sleep 0.1; done; {made} | sha256sum");
        Assert.Equal(sent, await sum);
    }
}
