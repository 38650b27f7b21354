using System.Globalization;
using Trapline;
using Trapline.Machine;

namespace Guest.Tests;

/// <summary>KVM's paravirtual interface as Linux uses it.</summary>
public abstract class ParavirtualTests(DefaultGuestFixture guest)
{
    private const string Sources = "/sys/devices/system/clocksource/clocksource0/";

    [GuestFact]
    public async Task LinuxFindsKvm()
    {
        string log = (await guest.RunAsync("dmesg")).Text;
        Assert.Contains("Hypervisor detected: KVM", log);
        Assert.Contains("kvm-clock: Using msrs 4b564d01 and 4b564d00", log);
        Assert.Contains("Switched APIC routing to physical x2apic", log); // without interrupt remapping, for guests of a known hypervisor only
        Assert.Contains("kvm-clock", (await guest.ShellAsync($"cat {Sources}available_clocksource")).Text);
        // The ninth number of the line is stolen time: an account is kept at all only where it is offered.
        Assert.Matches(@"^cpu( +\d+){10}", (await guest.ShellAsync("head -1 /proc/stat")).Text);
    }

    /// <summary>An EOI that the guest makes in its memory leaves the register alone: of hundreds of interrupts, few are ended by it.</summary>
    [GuestFact]
    public async Task InterruptsEndWithoutAWord()
    {
        VirtualMachine machine = await guest.MachineAsync();
        long Ends() => machine.Statistics.Exits.Where(e => e.Target == "x2APIC 0x80b").Sum(e => e.Count);
        long Taken() => machine.Statistics.Vcpus[0].Counters.Interrupts;
        (long ends, long taken) = (Ends(), Taken());
        await guest.ShellAsync("i=0; while [ $i -lt 3 ]; do sleep 0.2; i=$((i+1)); seq 2000 >/dev/null; done");
        (ends, taken) = (Ends() - ends, Taken() - taken);
        Assert.True(taken > 20, $"{taken} interrupts");
        Assert.True(ends < taken / 3, $"{ends} of {taken} interrupts ended by the register");
    }

    [GuestFact]
    public async Task KvmClockKeepsTheTime()
    {
        await guest.ShellAsync($"echo kvm-clock > {Sources}current_clocksource");
        try
        {
            Assert.Equal("kvm-clock\n", (await guest.ShellAsync($"cat {Sources}current_clocksource")).Text);
            double before = await AheadAsync();
            await guest.RunAsync("sleep", "3");
            Assert.InRange(await AheadAsync() - before, -0.5, 0.5);
            // Each reading is no earlier than the one before.
            Ran ran = await guest.ShellAsync("i=0; while [ $i -lt 200 ]; do read up rest < /proc/uptime; echo $up; i=$((i+1)); done | sort -n -c && echo sorted");
            Assert.Equal("sorted\n", ran.Text);
        }
        finally
        {
            await guest.ShellAsync($"echo tsc > {Sources}current_clocksource");
        }
    }

    /// <summary>How far the guest's time since boot is ahead of the host's time of day, in seconds; the answer's way is in it.</summary>
    private async Task<double> AheadAsync()
    {
        string text = (await guest.ShellAsync("cut -d' ' -f1 /proc/uptime")).Text;
        return double.Parse(text, CultureInfo.InvariantCulture) - (DateTime.UtcNow - DateTime.UnixEpoch).TotalSeconds;
    }

    [GuestFact]
    public async Task TheTimeOfDayIsTheHosts()
    {
        long seconds = long.Parse((await guest.RunAsync("date", "+%s")).Text, CultureInfo.InvariantCulture);
        Assert.InRange(seconds - DateTimeOffset.UtcNow.ToUnixTimeSeconds(), -3, 2);
    }
}

[Collection("guests")]
public sealed class InterpretedParavirtualTests(InterpretedGuest guest) : ParavirtualTests(guest), IClassFixture<InterpretedGuest>;

[Collection("guests")]
public sealed class TranslatedParavirtualTests(TranslatedGuest guest) : ParavirtualTests(guest), IClassFixture<TranslatedGuest>
{
    [GuestFact]
    public async Task WithoutKvmNothingIsSeenOfIt()
    {
        (int status, string output, _) = await LauncherTests.RunAsync(["run", "--cpu", "max,-kvm", "--", "sh", "-c", "dmesg; cat /sys/devices/system/clocksource/clocksource0/available_clocksource"], "");
        Assert.Equal(0, status);
        Assert.DoesNotContain("kvm", output, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("tsc: Detected 1000.000 MHz", output);
    }
}
