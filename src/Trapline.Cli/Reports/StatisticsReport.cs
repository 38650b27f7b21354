using System.Globalization;
using Trapline.Machine;

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
            var c = vcpu.Counters;
            double busy = Math.Max(1e-9, (statistics.GuestTime - vcpu.Halted).TotalSeconds);
            WriteLine(writer, $"vcpu {vcpu.Index}: {c.Instructions} instructions, {c.Instructions / busy / 1e6:F1} MIPS while running, {vcpu.Halts} halts, {vcpu.Halted.TotalSeconds:F3} s halted");
            long misses = c.TlbHitsSecondLevel + c.PageWalks;
            WriteLine(writer, $"vcpu {vcpu.Index}: tlb {misses} first-level misses, {c.TlbHitsSecondLevel} second-level hits, {c.PageWalks} page walks, {c.PageFaults} page faults");
            WriteLine(writer, $"vcpu {vcpu.Index}: {c.Exceptions} exceptions, {c.Interrupts} interrupts, {c.BlocksDecoded} blocks decoded, {c.CodeInvalidations} invalidated");
            foreach ((string name, long value) in vcpu.Details)
                WriteLine(writer, $"  {value,12}  {name}");
        }
        WriteLine(writer, $"exits {statistics.Exits.Sum(e => e.Count)} in {statistics.Exits.Sum(e => e.Time.TotalMilliseconds):F1} ms");
        foreach (ExitStatistics exit in statistics.Exits.Take(ExitLines))
            WriteLine(writer, $"  {exit.Count,10}  {exit.Time.TotalMilliseconds,10:F1} ms  {exit.Kind,-12} {exit.Target}");
        if (statistics.Exits.Count > ExitLines)
            WriteLine(writer, $"  and {statistics.Exits.Count - ExitLines} more kinds");
    }

    private static void WriteLine(TextWriter writer, FormattableString line) => writer.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
