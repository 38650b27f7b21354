using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using Trapline.Network;
using Trapline.Network.Filter;
using Trapline.Network.Passt;
using Trapline.Network.Tests;
using Trapline.Network.Tests.Filter;
using static Trapline.Network.Tests.Packets;

namespace Trapline.Fuzz.Network;

/// <summary>Frames of hostile guests and of hostile peers, mutated from good ones: the filter throws at none, and what it lets pass is allowed by a reader of its own.</summary>
internal static class NetworkFuzzer
{
    private const string Us = PasstOptions.Guest4, Us6 = PasstOptions.Guest6, Gateway = PasstOptions.Gateway4, Gateway6 = PasstOptions.Gateway6;
    private const uint AllowedNetwork = 0xC633_6400; // 198.51.100.0/24
    private const ushort AllowedPort = 80;

    public static bool Knows(string[] arguments) => arguments is ["network", ..];

    /// <summary>fuzz network [--seconds N] [--cases N] [--seed S]; returns the exit status.</summary>
    public static int Run(string[] arguments)
    {
        double seconds = 10;
        long cases = long.MaxValue;
        ulong seed = (ulong)Environment.TickCount64;
        for (int i = 1; i < arguments.Length; i += 2)
        {
            string value = i + 1 < arguments.Length ? arguments[i + 1] : "";
            bool ok = arguments[i] switch
            {
                "--seconds" => double.TryParse(value, CultureInfo.InvariantCulture, out seconds),
                "--cases" => long.TryParse(value, out cases),
                "--seed" => ulong.TryParse(value, out seed),
                _ => false,
            };
            if (!ok)
            {
                Console.Error.WriteLine("usage: fuzz network [--seconds N] [--cases N] [--seed S]");
                return 2;
            }
        }
        return Run(seed, seconds, cases);
    }

    private static int Run(ulong seed, double seconds, long cases)
    {
        Stopwatch time = Stopwatch.StartNew();
        RandomSource random = new(seed);
        FrameFilter judge = MakeFilter(), listener = MakeFilter();
        byte[][] outgoing = Outgoing(), incoming = Incoming();
        long done = 0;
        long[] verdicts = new long[3];
        byte[] frame = [];
        try
        {
            for (; (done & 0xFF) != 0 || (time.Elapsed.TotalSeconds < seconds && done < cases); done++)
            {
                frame = Mutate(random, outgoing[random.Below(outgoing.Length)]);
                Verdict verdict = judge.Judge(frame, out _);
                verdicts[(int)verdict]++;
                if (verdict == Verdict.Pass && Objection(frame) is { } objection)
                {
                    Console.WriteLine($"a frame passed that should not have: {objection}; seed {seed}, case {done}: {Convert.ToHexString(frame)}");
                    return 1;
                }
                frame = Mutate(random, incoming[random.Below(incoming.Length)]);
                listener.Listen(frame);
            }
        }
        catch (Exception e)
        {
            Console.WriteLine($"{e.GetType().Name} at seed {seed}, case {done}: {Convert.ToHexString(frame)}: {e}");
            return 1;
        }
        Console.WriteLine($"{done:N0} frames each way: {verdicts[(int)Verdict.Pass]:N0} passed, {verdicts[(int)Verdict.Drop]:N0} dropped, {verdicts[(int)Verdict.Refuse]:N0} refused; seed {seed}");
        return 0;
    }

    private static FrameFilter MakeFilter() => new(
        AllowList.Parse("", ["198.51.100.0/24:80", "example.org:443"]),
        new GuestNetwork(
            IPAddress.Parse(Us), IPAddress.Parse(Gateway), new IPNetwork(IPAddress.Parse(PasstOptions.Network6), 64), IPAddress.Parse(Gateway6),
            [IPAddress.Parse(Gateway)], [PublishedPort.Parse("", "8080:80")]));

    private static byte[][] Outgoing() =>
    [
        Ip4(Tcp, Us, "198.51.100.7", TcpSegment(4000, AllowedPort, 1, 0, Syn)),
        Ip4(Tcp, Us, "192.0.2.7", TcpSegment(4000, AllowedPort, 1, 0, Syn)),
        Ip4(Udp, Us, "198.51.100.7", UdpDatagram(4000, AllowedPort, "data"u8)),
        Ip4(Udp, Us, Gateway, UdpDatagram(5000, 53, DnsPackets.Question("example.org"))),
        Ip4(Udp, Us, Gateway, UdpDatagram(5000, 53, DnsPackets.Question("example.com", 28))),
        Ip4(Udp, "0.0.0.0", "255.255.255.255", UdpDatagram(68, 67, new byte[240])),
        Ip6(Tcp, Us6, "2001:db8::7", TcpSegment(4000, AllowedPort, 1, 0, Syn)),
        Ip6(Icmp6, "fe80::15", "ff02::2", [133, 0, 0, 0, 0, 0, 0, 0]),
        Ip4(Icmp, Us, Gateway, [8, 0, 0, 0, 0, 0, 0, 0]),
    ];

    private static byte[][] Incoming() =>
    [
        Ip4(Udp, Gateway, Us, UdpDatagram(53, 5000, DnsPackets.Answer("example.org", ["192.0.2.7", "2001:db8::7"], alias: "cdn.example.net"))),
        Ip4(Tcp, "192.0.2.7", Us, TcpSegment(3000, 80, 1, 0, Syn)),
        Ip6(Udp, Gateway6, Us6, UdpDatagram(53, 5000, DnsPackets.Answer("example.org", ["192.0.2.7"]))),
    ];

    /// <summary>One change mostly, so that much of what comes is nearly right; sometimes many, or another length.</summary>
    private static byte[] Mutate(RandomSource random, byte[] good)
    {
        byte[] frame = random.Below(10) switch
        {
            0 => good[..random.Below(good.Length + 1)],
            1 => [.. good, .. new byte[random.Below(80)]],
            2 => [.. good[..12], .. good[(12 + random.Below(good.Length - 12))..]],
            _ => [.. good],
        };
        for (int changes = random.OneIn(4) ? 1 + random.Below(12) : random.Below(3); changes > 0 && frame.Length > 0; changes--)
        {
            int at = random.Below(frame.Length);
            frame[at] = random.Below(3) switch
            {
                0 => (byte)random.Next(),
                1 => (byte)(frame[at] ^ (1 << random.Below(8))),
                _ => (byte)(frame[at] + random.Below(3) - 1),
            };
        }
        return frame;
    }

    /// <summary>What speaks against a frame that passed, by as lenient a reader as a host could be.</summary>
    private static string? Objection(byte[] frame)
    {
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));
        if (type == 0x0806)
            return null;
        if (type == 0x86DD)
            return frame[20] is Udp or Icmp6 ? null : "IPv6 that is neither discovery nor DHCP";
        if (type != 0x0800)
            return "neither ARP nor IP";
        int header = (frame[14] & 15) * 4;
        if (header != 20 || (BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(20)) & 0x3FFF) != 0)
            return "options or a fragment";
        uint from = BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(26)), to = BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(30));
        ushort port = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(36));
        if (frame[23] == Udp && port == 67)
            return to == uint.MaxValue || to == 0x0A00_0202 ? null : "DHCP to elsewhere";
        if (from != 0x0A00_020F)
            return "not from the guest";
        if (frame[23] == Udp && port == 53 && to == 0x0A00_0202)
            return null; // that it is for an allowed name is another test's
        return (to & 0xFFFF_FF00) == AllowedNetwork && port == AllowedPort && frame[23] is Tcp or Udp ? null : "not to what is allowed";
    }
}
