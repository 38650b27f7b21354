using System.Diagnostics;
using System.Globalization;
using System.Text;
using Trapline;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>A Linux guest on kvm-clock, through pauses, engines, saves and restores: its clocks never go back, and tell the time they should.</summary>
[Collection("guests")]
public sealed class ClockTests(TranslatedGuest guest) : IClassFixture<TranslatedGuest>
{
    private const string Source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

    /// <summary>Loads of a shared host delay the answer, not the clock: a reading lies between question and answer, give or take this.</summary>
    private const double Tolerance = 1;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    [GuestFact]
    public async Task ClocksGoOnThroughPausesEnginesAndFiles()
    {
        VirtualMachine machine = await guest.MachineAsync();
        Assert.Equal("kvm-clock\n", (await guest.ShellAsync($"echo kvm-clock > {Source}; cat {Source}")).Text);
        await StressProgram.SendAsync(machine);
        using TemporaryDirectory folder = new();
        Reading before = await ReadAsync(machine);
        double paused = 0, savedAt = 0;
        // The program checks its clock hundreds of times a second: that it never goes back, and that no sleep is too short.
        string said = await StressProgram.RunDuringAsync(machine, async () =>
        {
            for (int i = 0; i < 12; i++)
            {
                await Task.Delay(250);
                long start = Stopwatch.GetTimestamp();
                machine.Pause();
                await Task.Delay(250);
                machine.Resume();
                paused += Stopwatch.GetElapsedTime(start).TotalSeconds;
                await machine.SwitchEngineAsync(i % 2 == 0 ? "interpreter" : "translator");
                await Task.Delay(100);
                if (i != 5)
                    continue;
                await machine.SaveAsync(folder.File("saved"));
                savedAt = Host - paused;
            }
        });
        Assert.StartsWith("ok ", said);
        Reading after = await ReadAsync(machine);
        Assert.InRange(after.Uptime - before.Uptime, after.Asked - before.Answered - paused - 0.2, after.Answered - before.Asked - paused + 0.2);
        AssertTimeOfDay(after);

        // A restored guest has lived as long as it had when it was saved, and knows what time it is.
        using VirtualMachine restored = VirtualMachine.Restore(folder.File("saved"));
        double start = Host;
        restored.Start();
        Reading again = await ReadAsync(restored);
        double lived = savedAt - before.Asked;
        Assert.InRange(again.Uptime - before.Uptime, lived - Tolerance, lived + again.Answered - start + Tolerance);
        AssertTimeOfDay(again);
        restored.Pause();
        await Task.Delay(1500);
        restored.Resume();
        AssertTimeOfDay(await ReadAsync(restored));
        await guest.ShellAsync($"echo tsc > {Source}");
    }

    private static double Host => (DateTime.UtcNow - DateTime.UnixEpoch).TotalSeconds;

    private static void AssertTimeOfDay(Reading reading) => Assert.InRange(reading.TimeOfDay, reading.Asked - Tolerance, reading.Answered + Tolerance);

    /// <summary>The guest's clocks, in seconds, and the host's time of day around the question.</summary>
    private sealed record Reading(double Asked, double Uptime, double TimeOfDay, double Answered);

    private static async Task<Reading> ReadAsync(VirtualMachine machine)
    {
        double asked = Host;
        using MemoryStream output = new();
        await machine.ExecuteAsync(VirtualMachine.Program("sh", "-c", "cut -d' ' -f1 /proc/uptime; adjtimex | awk '/time.tv_/ {print $2}'") with { Stdout = output }).WaitAsync(Limit);
        double[] said = [.. Encoding.UTF8.GetString(output.ToArray()).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(s => double.Parse(s, CultureInfo.InvariantCulture))];
        return new Reading(asked, said[0], said[1] + (said[2] / 1e6), Host);
    }
}
