using System.Net;
using Trapline.Network.Filter;
using Trapline.Network.Passt;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Network.Tests.Filter;

/// <summary>Each rule of the filter, from both sides.</summary>
public class FrameFilterTests
{
    private const string Us = PasstOptions.Guest4, Gateway = PasstOptions.Gateway4, Us6 = PasstOptions.Guest6, Gateway6 = PasstOptions.Gateway6;

    private static FrameFilter Filter(string rules, params string[] published) => new(
        AllowList.Parse("--allow-net", rules.Split(',')),
        new GuestNetwork(
            IPAddress.Parse(Us), IPAddress.Parse(Gateway), new IPNetwork(IPAddress.Parse(PasstOptions.Network6), 64), IPAddress.Parse(Gateway6),
            [IPAddress.Parse(Gateway), IPAddress.Parse("192.0.2.53")], [.. published.Select(p => PublishedPort.Parse("", p))]));

    private static byte[] Opening(string to, int port, string from = Us) => Ip4(Tcp, from, to, TcpSegment(4000, port, 1, 0, Syn));

    private static byte[] Opening6(string to, int port, string from = Us6) => Ip6(Tcp, from, to, TcpSegment(4000, port, 1, 0, Syn));

    private static byte[] Datagram(string to, int port, string from = Us) => Ip4(Udp, from, to, UdpDatagram(5000, port, "data"u8));

    private static byte[] Ask(string name, string server = Gateway) => Ip4(Udp, Us, server, UdpDatagram(5000, 53, DnsPackets.Question(name)));

    private static byte[] Told(string name, string[] addresses, uint seconds = 60, string? alias = null, string server = Gateway) =>
        Ip4(Udp, server, Us, UdpDatagram(53, 5000, DnsPackets.Answer(name, addresses, seconds, alias)));

    private static Verdict Judge(FrameFilter filter, byte[] frame) => filter.Judge(frame, out _);

    private static void Passes(FrameFilter filter, byte[] frame) => Assert.Equal(Verdict.Pass, Judge(filter, frame));

    private static void Drops(FrameFilter filter, byte[] frame) => Assert.Equal(Verdict.Drop, Judge(filter, frame));

    [Fact]
    public void AddressAndPortBothHaveToMatch()
    {
        FrameFilter filter = Filter("192.0.2.7:443,198.51.100.0/24:80,203.0.113.1:*");
        Passes(filter, Opening("192.0.2.7", 443));
        Passes(filter, Datagram("192.0.2.7", 443));
        Drops(filter, Opening("192.0.2.7", 80));
        Drops(filter, Opening("192.0.2.8", 443));
        Passes(filter, Opening("198.51.100.200", 80));
        Drops(filter, Opening("198.51.101.1", 80));
        Drops(filter, Opening("198.51.100.1", 443));
        Passes(filter, Opening("203.0.113.1", 9999));
        Passes(filter, Ip4(Tcp, Us, "192.0.2.7", TcpSegment(4000, 443, 1, 1, Ack, "more"u8)));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.8", TcpSegment(4000, 443, 1, 1, Ack, "more"u8)));
    }

    [Fact]
    public void Ip6AddressesAreRulesToo()
    {
        FrameFilter filter = Filter("[2001:db8::7]:443,[2001:db8:1::/48]:80");
        Passes(filter, Opening6("2001:db8::7", 443));
        Passes(filter, Opening6("2001:db8:1:2::3", 80));
        Drops(filter, Opening6("2001:db8::8", 443));
        Drops(filter, Opening6("2001:db8:2::3", 80));
        Drops(filter, Opening6("fe80::99", 443));
    }

    [Fact]
    public void NothingIsNothing()
    {
        FrameFilter filter = Filter("none");
        Drops(filter, Opening("192.0.2.7", 443));
        Drops(filter, Opening(Gateway, 80));
        Drops(filter, Datagram("192.0.2.7", 443));
        Assert.Equal(Verdict.Refuse, Judge(filter, Ask("example.org")));
    }

    [Fact]
    public void EverythingIsEverythingElsewhereButNotTheHost()
    {
        FrameFilter filter = Filter("*:80");
        Passes(filter, Opening("192.0.2.7", 80));
        Passes(filter, Opening6("2001:db8::1", 80));
        Passes(filter, Ask("anything.example"));
        Drops(filter, Opening("192.0.2.7", 81));
        Drops(filter, Opening(Gateway, 80));
        Drops(filter, Opening6(Gateway6, 80));
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("127.8.8.8")]
    [InlineData("0.0.0.0")]
    [InlineData("0.1.2.3")]
    [InlineData("224.0.0.251")]
    [InlineData("255.255.255.255")]
    [InlineData(Us)]
    public void WhatAHostTakesForItselfOrForManyIsNeverReached(string address)
    {
        Drops(Filter("*:*"), Opening(address, 80));
        Drops(Filter("*:*"), Datagram(address, 80));
        Drops(Filter($"{address}:80"), Opening(address, 80));
    }

    [Theory]
    [InlineData("::1")]
    [InlineData("::")]
    [InlineData("::ffff:127.0.0.1")]
    [InlineData("::ffff:192.0.2.7")]
    [InlineData("::127.0.0.1")]
    [InlineData("ff02::1")]
    [InlineData(Us6)]
    public void TheSameForIp6(string address) => Drops(Filter("*:*"), Opening6(address, 80));

    [Fact]
    public void TheHostIsReachedByItsNameOrItsVeryAddress()
    {
        Passes(Filter("gateway:8080"), Opening(Gateway, 8080));
        Passes(Filter("gateway:8080"), Opening6(Gateway6, 8080));
        Passes(Filter($"{Gateway}:8080"), Opening(Gateway, 8080));
        Drops(Filter("gateway:8080"), Opening(Gateway, 8081));
        Drops(Filter("10.0.0.0/8:8080"), Opening(Gateway, 8080));
    }

    [Fact]
    public void ANameIsAskedForAndThenItsAddressesAreReached()
    {
        FrameFilter filter = Filter("example.org:443");
        Drops(filter, Opening("192.0.2.7", 443));
        Passes(filter, Ask("example.org"));
        Passes(filter, Ask("EXAMPLE.Org"));
        filter.Listen(Told("example.org", ["192.0.2.7", "192.0.2.8", "2001:db8::7"], alias: "cdn.example.net"));
        Passes(filter, Opening("192.0.2.7", 443));
        Passes(filter, Opening("192.0.2.8", 443));
        Passes(filter, Opening6("2001:db8::7", 443));
        Drops(filter, Opening("192.0.2.7", 80));
        Drops(filter, Opening("192.0.2.9", 443));
    }

    [Theory]
    [InlineData("example.com")]
    [InlineData("www.example.org")]
    [InlineData("example.org.evil.test")]
    [InlineData("notexample.org")]
    public void OtherNamesAreRefused(string name) => Assert.Equal(Verdict.Refuse, Judge(Filter("example.org:443"), Ask(name)));

    [Fact]
    public void AStarStandsForNamesBelow()
    {
        FrameFilter filter = Filter("*.example.org:443");
        Passes(filter, Ask("www.example.org"));
        Passes(filter, Ask("a.b.example.org"));
        Assert.Equal(Verdict.Refuse, Judge(filter, Ask("example.org")));
        Assert.Equal(Verdict.Refuse, Judge(filter, Ask("badexample.org")));
    }

    [Fact]
    public void AnswersCountFromNameServersAloneAndForAllowedNames()
    {
        FrameFilter filter = Filter("example.org:443");
        filter.Listen(Told("example.org", ["192.0.2.7"], server: "192.0.2.99"));
        filter.Listen(Told("example.com", ["192.0.2.7"]));
        Drops(filter, Opening("192.0.2.7", 443));
        filter.Listen(Told("example.org", ["192.0.2.7"], server: "192.0.2.53"));
        Passes(filter, Opening("192.0.2.7", 443));
    }

    /// <summary>Whoever owns an allowed name must not be able to point it at the host.</summary>
    [Fact]
    public void ANameThatPointsToTheHostLeadsNowhere()
    {
        FrameFilter filter = Filter("example.org:*");
        filter.Listen(Told("example.org", [Gateway, "127.0.0.1", "0.0.0.0", "::1", Gateway6]));
        Drops(filter, Opening(Gateway, 80));
        Drops(filter, Opening("127.0.0.1", 80));
        Drops(filter, Opening("0.0.0.0", 80));
        Drops(filter, Opening6("::1", 80));
        Drops(filter, Opening6(Gateway6, 80));
    }

    [Fact]
    public void QuestionsGoToTheNameServersAlone()
    {
        FrameFilter filter = Filter("example.org:443");
        Drops(filter, Ask("example.org", "192.0.2.99"));
        Passes(filter, Ask("example.org", "192.0.2.53"));
        Drops(filter, Opening(Gateway, 53));
    }

    [Fact]
    public void WhatIsNoPlainQuestionIsDropped()
    {
        FrameFilter filter = Filter("example.org:443");
        byte[] good = DnsPackets.Question("example.org");
        foreach (Action<byte[]> change in (Action<byte[]>[])[m => m[2] |= 0x80, m => m[2] |= 0x28, m => m[5] = 2, m => m[5] = 0, m => m[7] = 1, m => m[9] = 1, m => m[11] = 2, m => m[12] = 0xC0, m => m[12] = 64, m => m[13] = (byte)'.'])
        {
            byte[] bad = [.. good];
            change(bad);
            Drops(filter, Ip4(Udp, Us, Gateway, UdpDatagram(5000, 53, bad)));
        }
        Drops(filter, Ip4(Udp, Us, Gateway, UdpDatagram(5000, 53, good.AsSpan(0, good.Length - 3))));
        Drops(filter, Ip4(Udp, Us, Gateway, UdpDatagram(5000, 53, "hello"u8)));
    }

    [Fact]
    public void WhatANetworkNeedsToStandPasses()
    {
        FrameFilter filter = Filter("none");
        Passes(filter, ArpFrame.Question(Guest, IPAddress.Parse(Us), IPAddress.Parse(Gateway)));
        Passes(filter, Ip4(Udp, "0.0.0.0", "255.255.255.255", UdpDatagram(68, 67, new byte[240])));
        Passes(filter, Ip4(Udp, Us, Gateway, UdpDatagram(68, 67, new byte[240])));
        Passes(filter, Ip6(Udp, "fe80::15", "ff02::1:2", UdpDatagram(546, 547, new byte[20])));
        Passes(filter, Ip6(Icmp6, "fe80::15", "ff02::2", [133, 0, 0, 0, 0, 0, 0, 0]));
        Passes(filter, Ip6(Icmp6, "::", "ff02::1:ff00:15", [135, 0, .. new byte[22]]));
        Passes(filter, Ip6(Icmp6, Us6, Gateway6, [136, 0, .. new byte[22]]));
    }

    [Fact]
    public void NothingBesideItDoes()
    {
        FrameFilter filter = Filter("*:*");
        Drops(filter, ArpFrame.Question(Guest, IPAddress.Parse("10.0.2.99"), IPAddress.Parse(Gateway)));
        Drops(filter, Ip4(Udp, "0.0.0.0", "192.0.2.7", UdpDatagram(68, 67, new byte[240])));
        Drops(filter, Ip4(Udp, "0.0.0.0", "255.255.255.255", UdpDatagram(69, 67, new byte[240])));
        Drops(filter, Ip4(Icmp, Us, "192.0.2.7", [8, 0, 0, 0, 0, 0, 0, 0]));
        Drops(filter, Ip6(Icmp6, Us6, "2001:db8::1", [128, 0, 0, 0, 0, 0, 0, 0]));
        Drops(filter, Ip6(Icmp6, Us6, "ff02::1", [134, 0, .. new byte[14]])); // we are no router
        Drops(filter, Ip4(47, Us, "192.0.2.7", new byte[40]));  // GRE
        Drops(filter, Ip4(4, Us, "192.0.2.7", new byte[40]));   // IPv4 in IPv4
        Drops(filter, Ip4(41, Us, "192.0.2.7", new byte[60]));  // IPv6 in IPv4
        Drops(filter, Ip4(132, Us, "192.0.2.7", new byte[40])); // SCTP
        Drops(filter, Ethernet(0x8100, Opening("192.0.2.7", 80).AsSpan(12))); // a VLAN's tag
        Drops(filter, Ethernet(0x88CC, new byte[46]));
    }

    [Theory]
    [InlineData("10.0.2.16")]
    [InlineData(Gateway)]
    [InlineData("127.0.0.1")]
    [InlineData("0.0.0.0")]
    [InlineData("192.0.2.7")]
    public void ASourceThatIsNotTheGuestsIsDropped(string source)
    {
        Drops(Filter("*:*"), Opening("192.0.2.7", 80, source));
        Drops(Filter("*:*"), Datagram("192.0.2.7", 80, source));
    }

    [Fact]
    public void TheSameForIp6Sources()
    {
        Passes(Filter("*:*"), Opening6("2001:db8::1", 80, "fd54:7261:706c::abcd"));
        Drops(Filter("*:*"), Opening6("2001:db8::1", 80, "2001:db8::2"));
        Drops(Filter("*:*"), Opening6("2001:db8::1", 80, "::"));
        Drops(Filter("*:*"), Opening6("2001:db8::1", 80, "fd54:7261:706c:1::15"));
    }

    [Fact]
    public void FragmentsAndOptionsAreDropped()
    {
        FrameFilter filter = Filter("*:*");
        byte[] segment = TcpSegment(4000, 80, 1, 0, Syn);
        Passes(filter, Ip4(Tcp, Us, "192.0.2.7", segment, fragment: 0));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", segment, fragment: 0x2000)); // more follow
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", segment, fragment: 1));      // not the first
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", segment, fragment: 0x8000)); // a reserved bit
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", segment, options: [131, 7, 4, 192, 0, 2, 9, 0])); // loose source route
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", segment, options: [1, 1, 1, 1]));
        foreach (byte header in (byte[])[0, 43, 44, 51, 60, 135]) // extension headers
            Drops(filter, Ip6(header, Us6, "2001:db8::1", [Tcp, 0, 0, 0, 0, 0, 0, 0, .. segment]));
    }

    [Fact]
    public void LengthsThatTheFrameDoesNotBearOutAreDropped()
    {
        FrameFilter filter = Filter("*:*");
        byte[] good = Opening("192.0.2.7", 80);
        Drops(filter, good[..^1]);
        Drops(filter, [.. good, .. new byte[100]]);
        Passes(filter, [.. good, .. new byte[60 - good.Length]]); // padded as a wire would
        byte[] dataOffset = [.. good];
        dataOffset[46] = 0xF0;
        Drops(filter, dataOffset);
        byte[] version = [.. good];
        version[14] = 0x65;
        Drops(filter, version);
        byte[] datagram = Datagram("192.0.2.7", 80);
        datagram[39]++;
        Drops(filter, datagram);
        for (int length = 0; length < good.Length; length++)
            Drops(filter, good[..length]);
    }

    [Fact]
    public void WhoSpeaksToAPublishedPortIsAnsweredAndNobodyElse()
    {
        FrameFilter filter = Filter("none", "8080:80", "5353:53/udp");
        byte[] answer = Ip4(Tcp, Us, "192.0.2.7", TcpSegment(80, 3000, 1, 2, Syn | Ack));
        Drops(filter, answer);
        filter.Listen(Ip4(Tcp, "192.0.2.7", Us, TcpSegment(3000, 80, 1, 0, Syn)));
        Passes(filter, answer);
        Passes(filter, Ip4(Tcp, Us, "192.0.2.7", TcpSegment(80, 3000, 2, 2, Ack, "data"u8)));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", TcpSegment(80, 3001, 1, 2, Syn | Ack)));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.8", TcpSegment(80, 3000, 1, 2, Syn | Ack)));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", TcpSegment(81, 3000, 1, 2, Syn | Ack)));
        // Not published, so not remembered.
        filter.Listen(Ip4(Tcp, "192.0.2.9", Us, TcpSegment(3000, 22, 1, 0, Syn)));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.9", TcpSegment(22, 3000, 1, 2, Syn | Ack)));
        // An answer is no opening.
        filter.Listen(Ip4(Tcp, "192.0.2.9", Us, TcpSegment(3000, 80, 1, 1, Syn | Ack)));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.9", TcpSegment(80, 3000, 1, 2, Ack)));

        Drops(filter, Ip4(Udp, Us, "192.0.2.7", UdpDatagram(53, 3000, "x"u8)));
        filter.Listen(Ip4(Udp, "192.0.2.7", Us, UdpDatagram(3000, 53, "x"u8)));
        Passes(filter, Ip4(Udp, Us, "192.0.2.7", UdpDatagram(53, 3000, "x"u8)));
        Drops(filter, Ip4(Tcp, Us, "192.0.2.7", TcpSegment(53, 3000, 1, 2, Syn | Ack)));
    }

    [Fact]
    public void TablesDoNotGrow()
    {
        LearnedAddresses learned = new(8);
        for (uint i = 0; i < 100; i++)
            learned.Add(new DnsAddress(false, i, 60 + i), 0, 0);
        Assert.Equal(8, learned.Count);
        Assert.True(learned.Use(false, 99, 0, 0));
        PeerTable peers = new(4);
        for (uint i = 0; i < 10; i++)
            peers.Add(new Peer(PacketKind.Tcp, false, i, 1, 2));
        Assert.False(peers.Contains(new Peer(PacketKind.Tcp, false, 5, 1, 2)));
        Assert.True(peers.Contains(new Peer(PacketKind.Tcp, false, 6, 1, 2)));
    }

    [Fact]
    public void AnAddressIsForgottenSomeTimeAfterItsLastUse()
    {
        LearnedAddresses learned = new(8);
        learned.Add(new DnsAddress(false, 7, 1), 0, 0);
        long time = LearnedAddresses.LeastMilliseconds - 1;
        Assert.True(learned.Use(false, 7, 0, time));
        Assert.True(learned.Use(false, 7, 0, time + LearnedAddresses.LeastMilliseconds - 1));
        Assert.False(learned.Use(false, 7, 0, time + (3 * LearnedAddresses.LeastMilliseconds)));
        Assert.Equal(0, learned.Count);
    }

    [Fact]
    public void JudgingAllocatesNothing()
    {
        FrameFilter filter = Filter("example.org:443,198.51.100.0/24:80");
        filter.Listen(Told("example.org", ["192.0.2.7"]));
        byte[][] frames = [Opening("192.0.2.7", 443), Opening("198.51.100.1", 80), Opening("1.2.3.4", 80), Ask("example.org"), Ask("example.com")];
        for (int i = 0; i < 200; i++)
            Judge(filter, frames[i % frames.Length]);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1_000; i++)
            Judge(filter, frames[i % frames.Length]);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
