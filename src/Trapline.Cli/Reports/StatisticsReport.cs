using System.Globalization;
using Trapline.Machine;
using Trapline.X86;

namespace Trapline.Cli.Reports;

/// <summary>What --stats prints: lines of a name and values, easy to read and to cut apart.</summary>
internal static class StatisticsReport
{
    private const int ExitLines = 20;

    public static void Write(TextWriter writer, MachineStatistics statistics, TimeSpan wall)
    {
        FormattableString line = $"wall {wall.TotalSeconds:F3} s, guest {statistics.GuestTime.TotalSeconds:F3} s";
        WriteLine(writer, line);
        foreach (VcpuStatistics vcpu in statistics.Vcpus)
        {
            WriteCounters(writer, vcpu, statistics);
            WriteEngine(writer, vcpu, statistics);
        }
        WriteLine(writer, $"exits {statistics.Exits.Sum(e => e.Count)} in {statistics.Exits.Sum(e => e.Time.TotalMilliseconds):F1} ms");
        foreach (ExitStatistics exit in statistics.Exits.Take(ExitLines))
            WriteLine(writer, $"  {exit.Count,10}  {exit.Time.TotalMilliseconds,10:F1} ms  {exit.Kind,-12} {exit.Target}");
        if (statistics.Exits.Count > ExitLines)
            WriteLine(writer, $"  and {statistics.Exits.Count - ExitLines} more kinds");
    }

    private static void WriteCounters(TextWriter writer, VcpuStatistics vcpu, MachineStatistics statistics)
    {
        var c = vcpu.Counters;
        if (!vcpu.SeesEverything)
        {
            WriteLine(writer, $"vcpu {vcpu.Index}: {c.Instructions} instructions that left the guest, {c.Interrupts} interrupts, {vcpu.Halts} halts, {vcpu.Halted.TotalSeconds:F3} s halted");
            return;
        }
        double busy = Math.Max(1e-9, (statistics.GuestTime - vcpu.Halted).TotalSeconds);
        WriteLine(writer, $"vcpu {vcpu.Index}: {c.Instructions} instructions, {c.Instructions / busy / 1e6:F1} MIPS while running, {vcpu.Halts} halts, {vcpu.Halted.TotalSeconds:F3} s halted");
        long misses = c.TlbHitsSecondLevel + c.PageWalks;
        WriteLine(writer, $"vcpu {vcpu.Index}: tlb {misses} first-level misses, {c.TlbHitsSecondLevel} second-level hits, {c.PageWalks} page walks, {c.PageFaults} page faults");
        WriteLine(writer, $"vcpu {vcpu.Index}: {c.Exceptions} exceptions, {c.Interrupts} interrupts, {c.BlocksDecoded} blocks decoded, {c.CodeInvalidations} invalidated");
    }

    private static void WriteEngine(TextWriter writer, VcpuStatistics vcpu, MachineStatistics statistics)
    {
        TimeSpan running = statistics.GuestTime - vcpu.Halted;
        if (vcpu.Times is { } t)
        {
            TimeSpan devices = statistics.Exits.Aggregate(TimeSpan.Zero, (sum, e) => sum + e.Time) / statistics.Vcpus.Count;
            TimeSpan rest = running - t.Translated - t.Translation - t.Mmu - devices;
            (string Name, TimeSpan Time)[] parts =
                [("translated code", t.Translated), ("translation", t.Translation), ("MMU", t.Mmu), ("devices", devices), ("interpreter and exits", rest)];
            foreach ((string name, TimeSpan time) in parts)
                WriteLine(writer, $"  time          {time.TotalSeconds,12:F3} s  {100 * time / running,5:F1}%  {name}");
        }
        foreach (EngineDetail detail in vcpu.Details)
            WriteLine(writer, $"  {detail.Group,-13} {detail.Value,12}  {detail.Name}");
    }

    private static void WriteLine(TextWriter writer, FormattableString line) => writer.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
