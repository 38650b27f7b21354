namespace Trapline.Bench;

/// <summary>All measurements of all rounds.</summary>
internal sealed class Results
{
    private readonly Dictionary<(string Contender, string Workload), List<double>> _times = [];
    private readonly Dictionary<string, Dictionary<string, SortedSet<string>>> _checksums = [];

    public void Add(string contender, Measurement measurement)
    {
        if (!_times.TryGetValue((contender, measurement.Name), out List<double>? times))
            _times[(contender, measurement.Name)] = times = [];
        times.Add(measurement.Milliseconds);
        if (measurement.Checksum is not { } sum)
            return;
        if (!_checksums.TryGetValue(measurement.Name, out Dictionary<string, SortedSet<string>>? sums))
            _checksums[measurement.Name] = sums = [];
        if (!sums.TryGetValue(sum, out SortedSet<string>? who))
            sums[sum] = who = [];
        who.Add(contender);
    }

    public double? Median(string contender, string workload)
    {
        if (!_times.TryGetValue((contender, workload), out List<double>? times))
            return null;
        double[] sorted = [.. times.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Half of the range over the median: what a figure may be off by.</summary>
    public double Spread(string contender, string workload) =>
        _times.TryGetValue((contender, workload), out List<double>? times) ? (times.Max() - times.Min()) / 2 / Median(contender, workload)!.Value : 0;

    public double? Ratio(string contender, string peer, string workload) =>
        Median(contender, workload) is { } a && Median(peer, workload) is > 0 and { } b ? a / b : null;

    /// <summary>Who disagrees with whom, a line for each workload.</summary>
    public IEnumerable<string> Disagreements() =>
        from workload in _checksums
        where workload.Value.Count > 1
        select $"{workload.Key}: " + string.Join("; ", workload.Value.Select(s => $"{s.Key} by {string.Join(", ", s.Value)}"));
}
