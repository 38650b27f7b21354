using System.ComponentModel;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Machine;

/// <summary>Where the host runs a vCPU's thread, and how much it counts beside others.</summary>
internal static class VcpuPlacement
{
    private const int DefaultWeight = CpuSpecification.DefaultWeight;

    /// <summary>Applies what was asked for to the calling thread, which is the vCPU's.</summary>
    /// <exception cref="Win32Exception">The host refused: <see cref="Check"/> would have said so.</exception>
    public static void Apply(CpuSpecification cpu, int vcpu)
    {
        if (cpu.Pins.Count > 0)
            ThreadScheduling.Pin(cpu.Pins[vcpu % cpu.Pins.Count]);
        if (cpu.Weight != DefaultWeight)
            ThreadScheduling.SetNice(NiceOf(cpu.Weight));
    }

    /// <summary>A step of nice is a factor of 1.25 (Linux, kernel/sched/core.c, sched_prio_to_weight).</summary>
    public static int NiceOf(int weight) => (int)Math.Clamp(Math.Round(Math.Log((double)DefaultWeight / weight) / Math.Log(1.25)), -20, 19);

    /// <summary>Tries on a thread of its own what the vCPUs' threads will be asked for.</summary>
    /// <exception cref="BadInputException">A value is out of range, or the host refuses it.</exception>
    public static void Check(CpuSpecification cpu)
    {
        if (cpu.Weight is < 1 or > CpuSpecification.LargestWeight)
            throw new BadInputException($"a CPU weight of {cpu.Weight} is out of range: use 1 to {CpuSpecification.LargestWeight}");
        if (cpu.CapPercent is { } cap && cap is < 1 or > 100)
            throw new BadInputException($"a CPU cap of {cap}% is out of range: use 1 to 100, the percentage of one host processor that each vCPU gets at most");
        if (cpu.Pins.Count > 1 && cpu.Pins.Count != cpu.Count)
            throw new BadInputException($"{cpu.Pins.Count} sets of host processors for {cpu.Count} vCPUs: give one for all, or one for each");
        if (cpu.Pins.Any(pin => pin.Count == 0 || pin.Any(p => p is < 0 or >= ThreadScheduling.MostProcessors)))
            throw new BadInputException($"a set of host processors names none, or one beyond {ThreadScheduling.MostProcessors - 1}");
        if (cpu.Weight == DefaultWeight && cpu.Pins.Count == 0)
            return;
        string? refusal = null;
        Thread trial = new(() =>
        {
            for (int vcpu = 0; vcpu < cpu.Count && refusal == null; vcpu++)
                refusal = Try(cpu, vcpu);
        });
        trial.Start();
        trial.Join();
        if (refusal != null)
            throw new BadInputException(refusal);
    }

    private static string? Try(CpuSpecification cpu, int vcpu)
    {
        try
        {
            Apply(cpu with { Weight = DefaultWeight }, vcpu);
        }
        catch (Win32Exception e)
        {
            return $"vCPU {vcpu} cannot be kept on host processors {string.Join(",", cpu.Pins[vcpu % cpu.Pins.Count])} ({e.Message}): name processors that this host lets us use";
        }
        try
        {
            Apply(cpu with { Pins = [] }, vcpu);
            return null;
        }
        catch (Win32Exception)
        {
            return $"a CPU weight of {cpu.Weight} needs the right to raise priorities, which this process has not: use weights up to {DefaultWeight}, and lower ones for the other machines";
        }
    }
}
