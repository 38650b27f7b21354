using System.Diagnostics;
using System.Globalization;

namespace Guest.Tests;

/// <summary>`trapline run` as its user meets it: a shell on a terminal, and the terminal as it was on every way out.</summary>
[Collection("guests")]
public sealed class InteractiveTests
{
    private const string Prompt = "root@trapline:~# ";

    [GuestTheory]
    [InlineData("interpreter", 120)]
    [InlineData("translator", 200)]
    public async Task AShellOnATerminal(string engine, int mebibytes)
    {
        using TerminalSession session = new("run", "--engine", engine);
        await session.ExpectAsync(Prompt);
        Assert.NotEqual(session.SettingsBefore, session.Settings()); // raw

        session.Type("stty size\r");
        await session.ExpectAsync("\n30 100\r");
        await session.ExpectAsync(Prompt);
        session.Resize(40, 120);
        await Task.Delay(500);
        session.Type("stty size\r");
        await session.ExpectAsync("\n40 120\r");
        await session.ExpectAsync(Prompt);

        session.Type("sleep 100\r");
        await session.ExpectAsync("\n");
        await Task.Delay(1000);
        Stopwatch watch = Stopwatch.StartNew();
        session.Type("\u0003");
        await session.ExpectAsync(Prompt);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), "Ctrl-C did not end the sleep");
        session.Type("echo status=$?\r");
        await session.ExpectAsync("\nstatus=130\r");
        await session.ExpectAsync(Prompt);

        session.Type("\u0001h");
        await session.ExpectAsync("Ctrl-A x  quit");

        await IdlesAsync(session.Process.Id);
        MemoryBesideTheGuestsIsSmall(session.Process.Id, mebibytes);

        session.Type("\u0001x");
        Assert.Equal(0, await session.ExitAsync());
        Assert.Equal(session.SettingsBefore, session.Settings());
    }

    [GuestTheory]
    [InlineData("interpreter")]
    [InlineData("translator")]
    public async Task RebootComesBackAndPowerOffEnds(string engine)
    {
        using TerminalSession session = new("run", "--engine", engine);
        await session.ExpectAsync(Prompt);
        session.Type("reboot\r");
        await session.ExpectAsync("BusyBox");
        await session.ExpectAsync(Prompt);
        session.Type("poweroff\r");
        Assert.Equal(0, await session.ExitAsync());
        Assert.Equal(session.SettingsBefore, session.Settings());
    }

    [GuestTheory]
    [InlineData("TERM", 143)]
    [InlineData("HUP", 129)]
    [InlineData("INT", 130)]
    [InlineData("KILL", 137)]
    public async Task SignalsGiveTheTerminalBack(string signal, int status)
    {
        using TerminalSession session = new("run");
        await session.ExpectAsync("booting");
        Assert.NotEqual(session.SettingsBefore, session.Settings());
        using Process kill = Process.Start("kill", ["-" + signal, $"{session.Process.Id}"]);
        await kill.WaitForExitAsync();
        Assert.Equal(status, await session.ExitAsync());
        // After SIGKILL a helper does it, a moment later.
        for (int i = 0; i < 50 && session.Settings() != session.SettingsBefore; i++)
            await Task.Delay(100);
        Assert.Equal(session.SettingsBefore, session.Settings());
    }

    /// <summary>The promise: under 2% of a core at the prompt.</summary>
    private static async Task IdlesAsync(int process)
    {
        await Task.Delay(2000);
        using Process trapline = Process.GetProcessById(process);
        TimeSpan before = trapline.TotalProcessorTime;
        Stopwatch watch = Stopwatch.StartNew();
        await Task.Delay(5000);
        trapline.Refresh();
        double share = (trapline.TotalProcessorTime - before) / watch.Elapsed;
        Assert.True(share < 0.02, $"{share:P1} of a core at an idle prompt");
    }

    /// <summary>The promise for each engine, beside the guest's RAM, which is the one mapping of half a gibibyte.</summary>
    private static void MemoryBesideTheGuestsIsSmall(int process, int mebibytes)
    {
        const ulong guestRam = 512 << 20;
        long kibibytes = 0;
        bool guests = false;
        int mappings = 0;
        foreach (string line in File.ReadLines($"/proc/{process}/smaps"))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words[0].Contains('-', StringComparison.Ordinal) && !words[0].EndsWith(':'))
            {
                string[] ends = words[0].Split('-');
                guests = words[1] == "rw-p" && ulong.Parse(ends[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture)
                    - ulong.Parse(ends[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture) >= guestRam;
                mappings += guests ? 1 : 0;
            }
            else if (words[0] == "Rss:" && !guests)
            {
                kibibytes += long.Parse(words[1], CultureInfo.InvariantCulture);
            }
        }
        Assert.Equal(1, mappings);
        Assert.InRange(kibibytes, 1, mebibytes << 10);
    }
}
