using System.Globalization;

namespace Trapline.Bench;

/// <summary>The table.</summary>
internal sealed class Report(Results results, TextWriter output)
{
    private const string Trapline = Contenders.Trapline, Qemu = Contenders.Qemu, Native = Contenders.Native;

    public void Print(IReadOnlyList<string> workloads)
    {
        Line("workload", "trapline ms", "+-", "qemu ms", "+-", "native ms", "+-", "trapline/qemu", "trapline/native", "qemu/native");
        foreach (string workload in workloads)
            Row(workload);
        string[] measured = [.. workloads.Where(w => !w.StartsWith(Workloads.Boot, StringComparison.Ordinal))];
        string[] compute = [.. measured.Where(w => Workloads.All.Any(a => a.Name == w && a.Kind == Kind.Compute))];
        Means("geometric mean, all", measured);
        Means("geometric mean, compute only", compute);
    }

    private void Row(string workload) => Line(workload,
        Time(Trapline, workload), Spread(Trapline, workload), Time(Qemu, workload), Spread(Qemu, workload), Time(Native, workload), Spread(Native, workload),
        Text(results.Ratio(Trapline, Qemu, workload)), Text(results.Ratio(Trapline, Native, workload)), Text(results.Ratio(Qemu, Native, workload)));

    private void Means(string name, string[] workloads)
    {
        if (workloads.Length > 1)
            Line(name, "", "", "", "", "", "", Mean(Trapline, Qemu, workloads), Mean(Trapline, Native, workloads), Mean(Qemu, Native, workloads));
    }

    private string Mean(string contender, string peer, string[] workloads)
    {
        double[] ratios = [.. workloads.Select(w => results.Ratio(contender, peer, w)).OfType<double>()];
        return ratios.Length == 0 ? "" : Text(Math.Exp(ratios.Average(Math.Log)));
    }

    private string Time(string contender, string workload) =>
        results.Median(contender, workload)?.ToString("N1", CultureInfo.InvariantCulture) ?? "-";

    private string Spread(string contender, string workload) =>
        results.Median(contender, workload) == null ? "" : results.Spread(contender, workload).ToString("0%", CultureInfo.InvariantCulture);

    private static string Text(double? ratio) => ratio?.ToString(ratio < 10 ? "F2" : "F1", CultureInfo.InvariantCulture) ?? "-";

    private void Line(params string[] cells)
    {
        int[] widths = [30, 12, 6, 11, 6, 11, 6, 14, 16, 12];
        output.WriteLine(cells[0].PadRight(widths[0]) + string.Concat(cells.Skip(1).Select((c, i) => c.PadLeft(widths[i + 1]))));
    }
}
