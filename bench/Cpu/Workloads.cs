namespace Trapline.Bench;

/// <summary>What a workload exercises.</summary>
internal enum Kind
{
    /// <summary>User code only: the figures to compare with the host's own.</summary>
    Compute,

    /// <summary>Our own programs that live in the guest's kernel.</summary>
    Kernel,

    /// <summary>Programs of Debian's.</summary>
    Program,

    /// <summary>Four of those at a time: for machines of several vCPUs.</summary>
    Parallel,
}

/// <summary>One workload: its name and the line of shell that runs it, which prints a result line.</summary>
/// <param name="Name">In the table and for --only.</param>
/// <param name="Kind">What it exercises.</param>
/// <param name="Line">The line, for an amount of work.</param>
internal sealed record Workload(string Name, Kind Kind, Func<double, string> Line);

/// <summary>All workloads. Counts are such that QEMU's software CPU takes about a second for each.</summary>
internal static class Workloads
{
    public const string Boot = "boot";

    public static readonly Workload[] All =
    [
        Own("crc", Kind.Compute, 800),
        Own("fib", Kind.Compute, 100),
        Own("qsort", Kind.Compute, 20),
        Own("matrix", Kind.Compute, 20),
        Own("chase", Kind.Compute, 3_000_000),
        Own("memcpy", Kind.Compute, 150),
        Own("syscall", Kind.Kernel, 1_500_000),
        Own("pagefault", Kind.Kernel, 30),
        Own("fork", Kind.Kernel, 500),
        Own("exec", Kind.Kernel, 200),
        Own("pipe", Kind.Kernel, 6000),
        Own("switch", Kind.Kernel, 1500),
        Timed("sha256sum", BenchData.Text, "/bin/busybox sha256sum", repeat: 4),
        Timed("gzip", BenchData.Text, "/bin/busybox gzip -c"),
        Timed("xz", BenchData.ShortText, "/usr/bin/xz -T1 -6 -c"),
        Timed("awk", BenchData.ShortText, "/bin/busybox awk -f /data/words.awk"),
        Timed("tcc", "-", "/bin/sh /data/compile.sh", repeat: 3),
        Timed("python-start", "-", "/usr/bin/python3 -I -S -c 'import re, os; print(len(os.sep))'", repeat: 4),
        Timed("python", "-", "/usr/bin/python3 -I -S /data/work.py"),
        Timed("perl-start", "-", "/usr/bin/perl -e 'use strict; use POSIX; print floor(7.5)'", repeat: 2),
        Timed("sqlite", BenchData.Statements, "/usr/bin/sqlite3 -batch :memory:"),
        Together("parallel-gzip", BenchData.Text, "/bin/busybox gzip -c"),
        Together("parallel-xz", BenchData.ShortText, "/usr/bin/xz -T1 -6 -c"),
        Together("parallel-python", "-", "/usr/bin/python3 -I -S /data/work.py"),
        Speed("openssl-sha256", "-bytes 8192 -evp sha256"),
        Speed("openssl-aes", "-bytes 8192 -evp aes-128-cbc"),
        Speed("openssl-rsa", "rsa2048"),
    ];

    private static Workload Own(string name, Kind kind, int count) =>
        new(name, kind, scale => $"/bin/bench {name} {Scaled(count, scale)}");

    private static Workload Timed(string name, string input, string command, int repeat = 1) =>
        new(name, Kind.Program, scale => $"/bin/bench time {name} {Scaled(repeat, scale)} {input} {command}");

    private static Workload Together(string name, string input, string command) =>
        new(name, Kind.Parallel, _ => $"/bin/bench together {name} 4 {input} {command}");

    /// <summary>openssl measures a rate in a fixed time; the table shows what a fixed amount of work takes at that rate.</summary>
    private static Workload Speed(string name, string what) =>
        new(name, Kind.Program, _ => $"/usr/bin/openssl speed -mr -elapsed -seconds 1 {what} | /bin/busybox sed -n 's/^+F/trapline-speed {name} &/p'");

    private static int Scaled(int count, double scale) => Math.Max(1, (int)Math.Round(count * scale));
}
