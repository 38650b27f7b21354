using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Trapline;
using Trapline.Agent;
using Trapline.Consoles;
using Trapline.Images;
using Trapline.Machine;
using Trapline.Testing;
using Trapline.Virtio.Console;

namespace Guest.Tests;

/// <summary>Linux and the small virtio devices, on PCI and without: a port, sockets both ways, the balloon.</summary>
[Collection("guests")]
public sealed class DeviceTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    private static async Task<string> AskAsync(VirtualMachine machine, string script)
    {
        using MemoryStream output = new();
        ProgramResult result = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-ec", script) with { Stdout = output, Stderr = output }).WaitAsync(Limit);
        string said = Encoding.UTF8.GetString(output.ToArray());
        Assert.True(result == new ProgramResult(ProgramEnd.Exited, 0), $"{result}: {said}");
        return said;
    }

    private static async Task SendProgramAsync(VirtualMachine machine)
    {
        using Stream program = typeof(DeviceTests).Assembly.GetManifestResourceStream("guest-vsock")!;
        ProgramResult sent = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-c", "cat > /tmp/vsock && chmod +x /tmp/vsock") with { Stdin = program });
        Assert.Equal(new ProgramResult(ProgramEnd.Exited, 0), sent);
    }

    private static string Exchange(Socket socket, ReadOnlySpan<byte> said, int length)
    {
        byte[] answer = new byte[length];
        int done = 0;
        socket.ReceiveTimeout = 100_000;
        socket.Send(said);
        while (done < length && socket.Receive(answer.AsSpan(done)) is > 0 and var n)
            done += n;
        return Encoding.ASCII.GetString(answer, 0, done);
    }

    [GuestTheory]
    [InlineData("translator", false)]
    [InlineData("translator", true)]
    public async Task LinuxUsesThem(string engine, bool withoutPci)
    {
        GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
        using FileStream text = new(_folder.File("port"), FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        using StreamConsole port = new(text);
        using VirtualMachine machine = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification
        {
            Cpu = new CpuSpecification { Engine = engine },
            Consoles = new ConsoleSpecification { Ports = [new ConsolePortSpecification("org.test", port)] },
            Devices = new DeviceSpecification { Entropy = true, Balloon = true, Socket = new SocketDevice(_folder.File("v"), 42), WithoutPci = withoutPci },
            End = new EndSpecification { NoReboot = true },
        });
        machine.Start();
        Assert.True(await machine.WaitForAgentAsync().WaitAsync(Limit));
        Assert.Equal("org.test\n", await AskAsync(machine, "head -c 1000 /dev/hwrng > /dev/null; for p in /dev/vport*; do echo hello > $p; done; cat /sys/class/virtio-ports/*/name"));
        await AskAsync(machine, "true"); // the port's bytes went before
        Assert.Equal("hello\n", await File.ReadAllTextAsync(_folder.File("port")));

        await SendProgramAsync(machine);
        using (Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            listener.Bind(new UnixDomainSocketEndPoint(_folder.File("v_77")));
            listener.Listen();
            Task<string> asked = AskAsync(machine, "/tmp/vsock connect 77");
            using Socket guest = await listener.AcceptAsync().WaitAsync(Limit);
            Assert.Equal("guest", Exchange(guest, "host"u8, 5));
            Assert.Equal("host", await asked);
        }
        Task<string> listening = AskAsync(machine, "/tmp/vsock listen 5000");
        byte[] much = new byte[20_000];
        for (int i = 0; i < much.Length; i++)
            much[i] = (byte)('a' + (i % 26));
        using (Socket host = await ConnectAsync(5000))
        {
            Task<string> echo = Task.Run(() => Exchange(host, much, much.Length));
            Assert.Equal(Encoding.ASCII.GetString(much), await echo.WaitAsync(Limit));
        }
        Assert.Equal("listening\n", await listening);

        long before = await FreeAsync(machine);
        machine.SetBalloon(128 << 20);
        long after = before;
        for (int i = 0; i < 100 && before - after < 100 << 10; i++)
        {
            await Task.Delay(100);
            after = await FreeAsync(machine);
        }
        Assert.InRange(before - after, 100 << 10, 160 << 10);
        BalloonStatistics balloon = machine.Statistics.Balloon!.Value;
        Assert.Equal(128ul << 20, balloon.Target);
        Assert.InRange(balloon.Actual, 100ul << 20, 128ul << 20);
        Assert.True(balloon.Released >= 100 << 20);
        await machine.PowerOffAsync();
    }

    private static async Task<long> FreeAsync(VirtualMachine machine) =>
        long.Parse(Regex.Match(await AskAsync(machine, "cat /proc/meminfo"), @"MemFree:\s+(\d+)").Groups[1].Value);

    /// <summary>Until the program in the guest listens, the machine hangs up.</summary>
    private async Task<Socket> ConnectAsync(int port)
    {
        for (int i = 0; ; i++)
        {
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(_folder.File("v")));
            string answer = Exchange(socket, Encoding.ASCII.GetBytes($"CONNECT {port}\n"), 14);
            if (answer.StartsWith("OK ", StringComparison.Ordinal))
                return socket;
            socket.Dispose();
            Assert.True(i < 100, "nobody listens in the guest");
            await Task.Delay(100);
        }
    }
}
