using System.Diagnostics;
using System.Net;
using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Network.Tap;
using Trapline.Testing;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Network.Tests.Tap;

/// <summary>A fact that needs a network namespace with a tap device; where none can be made it is skipped and says so.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class FactWithTapAttribute : FactAttribute
{
    public FactWithTapAttribute()
    {
        Skip = FactNeedingAttribute.Obstacle(["unshare", "ip"]);
        if (Skip is not null)
            return;
        using Process probe = Process.Start(new ProcessStartInfo("unshare", ["--net", "ip", "tuntap", "add", "dev", "tap0", "mode", "tap"]) { RedirectStandardError = true })!;
        probe.WaitForExit();
        Skip = probe.ExitCode == 0 ? null : "no network namespace with a tap device can be made here";
    }
}

/// <summary>A tap device in a network namespace that the test makes.</summary>
public class TapBackendTests
{
    private const int NewNetwork = 0x4000_0000;

    [DllImport("libc", EntryPoint = "unshare", SetLastError = true)]
    private static extern int Unshare(int flags);

    [FactWithTap]
    public void FramesGoBothWays()
    {
        // A thread can have a network of its own: the devices that it opens and the programs that it starts are there.
        Exception? failure = null;
        Thread there = new(() =>
        {
            try
            {
                Assert.Equal(0, Unshare(NewNetwork));
                Run("ip link set lo up && ip tuntap add dev tap0 mode tap vnet_hdr && ip addr add 10.9.8.1/24 dev tap0 && ip link set tap0 up");
                Exchange("tap0");
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        there.Start();
        there.Join();
        Assert.True(failure is null, failure?.ToString());
    }

    private static void Run(string script)
    {
        using Process process = Process.Start("sh", ["-c", script]);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    private static void Exchange(string name)
    {
        using TapBackend backend = TapBackend.Open(name);
        CollectingSink sink = new() { Accepts = FrameOffloads.Checksum | FrameOffloads.TcpSegments4 | FrameOffloads.ChecksumIsValid };
        backend.Connect(sink);
        Assert.Equal(1_500, backend.Mtu);
        Assert.True(backend.Send(ArpFrame.Question(Guest, IPAddress.Parse("10.9.8.2"), IPAddress.Parse("10.9.8.1")), default));
        byte[] answer = Assert.IsType<byte[]>(sink.Take(f => f[12] == 8 && f[13] == 6 && f[21] == 2));
        Assert.Equal(Guest, MacAddress.Read(answer));

        // A segment to a port where nobody listens, its checksum left to the kernel: were it not filled in, there would be no reset.
        byte[] opening = Ip4(Tcp, "10.9.8.2", "10.9.8.1", TcpSegment(4000, 81, 1, 0, Syn));
        MacAddress.Read(answer.AsSpan(6)).Write(opening);
        int pseudo = Sum(opening.AsSpan(26, 8), Tcp + 20);
        (opening[50], opening[51]) = ((byte)(pseudo >> 8), (byte)pseudo);
        Assert.True(backend.Send(opening, new FrameOffload(FrameOffloads.Checksum, 34, 16)));
        byte[] reset = Assert.IsType<byte[]>(sink.Take(f => f.Length > 47 && f[12] == 8 && f[13] == 0 && f[23] == Tcp));
        Assert.Equal(Reset | Ack, reset[47]);
    }

    [Fact]
    public void ADeviceThatIsNotThereIsSaid()
    {
        BadInputException complaint = Assert.Throws<BadInputException>(() => TapBackend.Open("trapline-none"));
        Assert.Contains("ip tuntap add dev trapline-none", complaint.Message, StringComparison.Ordinal);
    }
}
