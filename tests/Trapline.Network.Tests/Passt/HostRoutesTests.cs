using Trapline.Network.Passt;

namespace Trapline.Network.Tests.Passt;

public class HostRoutesTests
{
    private const string Heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
    private const string Default = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0";
    private const string Subnet = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
    private const string Zeros = "00000000000000000000000000000000";
    private const string Default6 = $"{Zeros} 00 {Zeros} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0";
    private const string Unreachable6 = $"{Zeros} 00 {Zeros} 00 {Zeros} ffffffff 00000001 00000000 00200200       lo";
    private const string Subnet6 = $"fd000000000000000000000000000000 40 {Zeros} 00 {Zeros} 00000100 00000001 00000000 00000001     eth0";

    [Fact]
    public void AWayOutIsADefaultRoute()
    {
        Assert.Equal(new HostRoutes(true, true), HostRoutes.Parse([Heading, Subnet, Default], [Subnet6, Default6]));
        Assert.Equal(new HostRoutes(false, false), HostRoutes.Parse([Heading, Subnet], [Subnet6, Unreachable6]));
        Assert.Equal(new HostRoutes(false, false), HostRoutes.Parse([Heading], []));
    }

    [Fact]
    public void WithoutAWayOutTheLoopbackInterfaceIsTheTemplate()
    {
        string offline = string.Join(' ', PasstArguments.Make(new PasstOptions(), default));
        Assert.EndsWith("--ipv4-only --interface lo", offline, StringComparison.Ordinal);
        string online = string.Join(' ', PasstArguments.Make(new PasstOptions(), new HostRoutes(true, true)));
        Assert.DoesNotContain("--interface", online, StringComparison.Ordinal);
        Assert.Contains("--address fd54:7261:706c::15 --gateway fe80::2", online, StringComparison.Ordinal);
    }

    [Fact]
    public void EachPublishedPortIsAnOptionOfItsOwn()
    {
        PasstOptions options = new() { Published = [PublishedPort.Parse("", "8080:80"), PublishedPort.Parse("", "0.0.0.0:53:5353/udp")] };
        Assert.EndsWith("--tcp-ports 127.0.0.1/8080:80 --udp-ports 0.0.0.0/53:5353", string.Join(' ', PasstArguments.Make(options, new HostRoutes(true, false))), StringComparison.Ordinal);
    }
}
