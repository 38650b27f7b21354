namespace Trapline.Bench;

/// <summary>Every figure of one kind of guest, by workload.</summary>
internal sealed class Results
{
    private readonly Dictionary<string, List<double>> _values = [];

    public void Add(string name, double value)
    {
        if (!_values.TryGetValue(name, out List<double>? list))
            _values[name] = list = [];
        list.Add(value);
    }

    /// <summary>The least: what else the host does only ever adds.</summary>
    public double? Best(string name) => _values.TryGetValue(name, out List<double>? list) ? list.Min() : null;
}
