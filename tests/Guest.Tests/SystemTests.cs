using System.Diagnostics;
using System.IO.Compression;
using System.Security.Cryptography;
using Trapline;
using Trapline.X86;

namespace Guest.Tests;

/// <summary>The booted system: what it says of itself, its time, its arithmetic against the host's.</summary>
public abstract class SystemTests(DefaultGuestFixture guest)
{
    [GuestFact]
    public async Task TheKernelLogIsClean()
    {
        Ran ran = await guest.RunAsync("dmesg");
        string[] bad = [.. ran.Text.Split('\n').Where(l =>
            l.Contains("WARNING", StringComparison.Ordinal) || l.Contains("BUG:", StringComparison.Ordinal) || l.Contains("Oops", StringComparison.Ordinal)
            || l.Contains("unchecked MSR", StringComparison.Ordinal) || l.Contains("unstable", StringComparison.Ordinal)
            || l.Contains("Call Trace", StringComparison.Ordinal) || l.Contains("Unknown NMI", StringComparison.Ordinal))];
        Assert.Empty(bad);
    }

    [GuestFact]
    public async Task NothingIsMitigatedThatSlowsRings()
    {
        Ran ran = await guest.ShellAsync("cd /sys/devices/system/cpu/vulnerabilities && grep . *");
        string[] lines = ran.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains("meltdown:Not affected", lines);
        Assert.Contains("mds:Not affected", lines);
        Assert.DoesNotContain(lines, l => l.Contains("PTI", StringComparison.Ordinal) || l.Contains("Retpoline", StringComparison.Ordinal)
            || l.Contains(":Vulnerable", StringComparison.Ordinal));
    }

    [GuestFact]
    public async Task TheKernelHasARandomAddress()
    {
        // KASLR_FLAG, which the host sets in place of the kernel's decompressor (boot.rst, "loadflags").
        Ran ran = await guest.ShellAsync("od -An -tx1 -j $((0x211)) -N 1 /sys/kernel/boot_params/data");
        Assert.Equal(2, Convert.ToInt32(ran.Text.Trim(), 16) & 2);
    }

    [GuestFact]
    public async Task CpuinfoAgreesWithTheModel()
    {
        CpuModel model = CpuModel.Create(null, [], out _)!;
        Ran ran = await guest.RunAsync("cat", "/proc/cpuinfo");
        string[] flags = ran.Text.Split('\n').Single(l => l.StartsWith("flags", StringComparison.Ordinal)).Split(' ');
        // What Linux shows under other names, or not at all without a use for it.
        Feature[] unnamed =
        [
            Feature.SpecCtrl, Feature.Syscall32, Feature.La57, Feature.Ht,
            .. Enum.GetValues<Feature>().Where(f => f.ToString().StartsWith("Kvm", StringComparison.Ordinal)),
        ];
        Assert.Empty(model.Features.Except(unnamed).Select(CpuFeatures.NameOf).Except(flags));
        Assert.Empty(Enum.GetValues<Feature>().Except(model.Features).Select(CpuFeatures.NameOf).Intersect(flags));
    }

    [GuestFact]
    public async Task InterruptsAreTheOnesOfThisBoard()
    {
        Ran ran = await guest.RunAsync("cat", "/proc/interrupts");
        Dictionary<string, string[]> lines = ran.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1)
            .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToDictionary(w => w[0].TrimEnd(':'));
        Assert.Equal("0", lines["ERR"][1]);
        Assert.Equal("0", lines["MIS"][1]);
        Assert.Equal("0", lines["SPU"][1]);
        Assert.Contains("timer", lines["0"]);
        Assert.Contains("ttyS1", lines["3"]);
        Assert.True(int.Parse(lines["LOC"][1], System.Globalization.CultureInfo.InvariantCulture) > 0);
    }

    [GuestFact]
    public async Task TheClockIsTheTimeStampCounter() =>
        Assert.Equal("tsc\n", (await guest.ShellAsync("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")).Text);

    [GuestFact]
    public async Task SleepingOneSecondTakesOneSecond()
    {
        await guest.RunAsync("sleep", "0");
        Stopwatch empty = Stopwatch.StartNew();
        await guest.RunAsync("sleep", "0");
        TimeSpan overhead = empty.Elapsed;
        Stopwatch slept = Stopwatch.StartNew();
        await guest.RunAsync("sleep", "1");
        // 5% for the sleep itself; starting the program costs what it cost before, and the host is shared.
        Assert.InRange((slept.Elapsed - overhead).TotalSeconds, 0.9, 1.25);
        Ran byGuest = await guest.ShellAsync("a=$(cut -d' ' -f1 /proc/uptime); sleep 1; b=$(cut -d' ' -f1 /proc/uptime); echo \"$a $b\" | awk '{print $2-$1}'");
        Assert.InRange(double.Parse(byGuest.Text, System.Globalization.CultureInfo.InvariantCulture), 0.95, 1.3);
    }

    [GuestFact]
    public async Task ChecksumsEqualTheHosts()
    {
        byte[] data = new byte[50_000];
        new Random(11).NextBytes(data);
        Ran ran = await guest.RunAsync(VirtualMachine.Program("sh", "-c", "tee /tmp/d | sha256sum; md5sum < /tmp/d; sha512sum < /tmp/d") with { Stdin = new MemoryStream(data) });
        string[] sums = [.. ran.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' ')[0])];
#pragma warning disable CA5351 // MD5 is compared here, not trusted.
        Assert.Equal([Convert.ToHexStringLower(SHA256.HashData(data)), Convert.ToHexStringLower(MD5.HashData(data)), Convert.ToHexStringLower(SHA512.HashData(data))], sums);
#pragma warning restore CA5351
    }

    [GuestFact]
    public async Task CompressionGoesThereAndBack()
    {
        byte[] data = [.. Enumerable.Range(0, 60_000).Select(i => (byte)(i * i >> 7))];
        Ran ran = await guest.RunAsync(VirtualMachine.Program("sh", "-c", "gzip | tee /tmp/z | gunzip | sha256sum >&2; cat /tmp/z") with { Stdin = new MemoryStream(data) });
        Assert.StartsWith(Convert.ToHexStringLower(SHA256.HashData(data)), ran.ErrorText);
        using GZipStream unpacked = new(new MemoryStream(ran.Output), CompressionMode.Decompress);
        using MemoryStream back = new();
        unpacked.CopyTo(back);
        Assert.Equal(data, back.ToArray());
    }

    [GuestFact]
    public async Task PipelinesAndCopiesAreExact()
    {
        Ran ran = await guest.ShellAsync("dd if=/dev/zero bs=4096 count=300 2>/dev/null | tr '\\0' x | dd bs=1000 2>/dev/null | sha256sum");
        byte[] expected = SHA256.HashData([.. Enumerable.Repeat((byte)'x', 4096 * 300)]);
        Assert.StartsWith(Convert.ToHexStringLower(expected), ran.Text);
        Assert.Equal("5050\n", (await guest.ShellAsync("seq 100 | awk '{s+=$1} END {print s}'")).Text);
        Assert.Equal("3.3333\n", (await guest.ShellAsync("awk 'BEGIN {printf \"%.4f\\n\", 10/3}'")).Text);
    }
}

[Collection("guests")]
public sealed class InterpretedSystemTests(InterpretedGuest guest) : SystemTests(guest), IClassFixture<InterpretedGuest>;

[Collection("guests")]
public sealed class TranslatedSystemTests(TranslatedGuest guest) : SystemTests(guest), IClassFixture<TranslatedGuest>;
