using System.Diagnostics;
using System.Globalization;
using System.Text;
using Trapline.Agent;
using Trapline.Images;
using Trapline.Machine;

namespace Trapline.Bench;

/// <summary>One booted default guest, with or without KVM's interface.</summary>
internal sealed class BenchGuest : IDisposable
{
    /// <summary>Workloads in the order of the table. A clock that a guest has not is left out of its column.</summary>
    public static readonly (string Name, string What)[] Rows =
    [
        ("boot", "boot to the agent, ms"),
        ("boot-apic", "accesses to the local APIC until then"),
        ("tsc/clock-read", "clock read, clock `tsc` (Linux's choice in both)"),
        ("tsc/clock-call", "the same by system call"),
        ("kvm-clock/clock-read", "clock read, clock `kvm-clock`"),
        ("kvm-clock/clock-call", "the same by system call"),
        ("timer-setup", "timer armed and disarmed"),
        ("interrupt", "a timer's interrupt: with EOI and the next one programmed"),
        ("wakeup", "late out of HLT by a timer"),
        ("ipi", "IPI to another vCPU and its answer (2 vCPUs)"),
        ("flush", "TLB flush on 4 vCPUs"),
    ];

    private readonly VirtualMachine _machine;
    private readonly double _bootMilliseconds;
    private readonly long _apicAccesses;

    private BenchGuest(VirtualMachine machine, double bootMilliseconds)
    {
        (_machine, _bootMilliseconds) = (machine, bootMilliseconds);
        _apicAccesses = machine.Statistics.Exits
            .Where(e => e.Target.StartsWith("x2APIC", StringComparison.Ordinal) || e.Target is "local APIC page" or "TSC deadline").Sum(e => e.Count);
    }

    public static async Task<BenchGuest> BootAsync(GuestImages images, string engine, bool withKvm, int vcpus, byte[] program)
    {
        Stopwatch watch = Stopwatch.StartNew();
        VirtualMachine machine = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification
        {
            Cpu = new CpuSpecification { Engine = engine, Count = vcpus, Changes = withKvm ? [] : [new FeatureChange("kvm", false)] },
            End = new EndSpecification { NoReboot = true },
        });
        machine.Start();
        if (!await machine.WaitForAgentAsync())
            throw new InvalidOperationException("the guest ended while it booted: " + string.Join(' ', machine.LastConsoleLines(3)));
        BenchGuest guest = new(machine, watch.Elapsed.TotalMilliseconds);
        await guest.RunAsync("cat > /tmp/paravirt && chmod +x /tmp/paravirt", program);
        return guest;
    }

    /// <summary>What takes several vCPUs.</summary>
    public async Task MeasureSeveralAsync(string workload, Results results) => Read(await RunAsync($"/tmp/paravirt {workload}", []), "", results);

    public async Task MeasureAsync(Results results)
    {
        results.Add("boot", _bootMilliseconds);
        results.Add("boot-apic", _apicAccesses);
        await RunAsync("/tmp/paravirt clock-read clock-call", []); // so that everything is translated
        const string current = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        foreach (string clock in new[] { "kvm-clock", "tsc" })
        {
            // The guest's own clock; writing a name that it does not know changes nothing.
            string said = await RunAsync($"echo {clock} > {current} 2>/dev/null; cat {current}", []);
            if (said.Trim() == clock)
                Read(await RunAsync("/tmp/paravirt clock-read clock-call", []), clock + "/", results);
        }
        Read(await RunAsync("/tmp/paravirt timer-setup interrupt wakeup", []), "", results);
    }

    public void Dispose() => _machine.Dispose();

    private static void Read(string output, string prefix, Results results)
    {
        foreach (string line in output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] words = line.Split(' ');
            results.Add(prefix + words[0], double.Parse(words[1], CultureInfo.InvariantCulture));
        }
    }

    private async Task<string> RunAsync(string script, byte[] input)
    {
        using MemoryStream output = new();
        GuestProgram program = VirtualMachine.Program("sh", "-c", script) with { Stdin = new MemoryStream(input), Stdout = output };
        ProgramResult result = await _machine.ExecuteAsync(program);
        if (result.End == ProgramEnd.GuestGone)
            throw new InvalidOperationException("the guest ended");
        return Encoding.UTF8.GetString(output.ToArray());
    }
}
