namespace Trapline.Machine;

/// <summary>How often and how long each vCPU's accesses reached one target. Each vCPU writes only its own cells.</summary>
internal sealed class ExitCounters(int vcpus, int cells)
{
    private readonly long[] _counts = new long[vcpus * cells];
    private readonly long[] _times = new long[vcpus * cells];

    public int Cells => cells;

    public void Count(int vcpu, int cell) => _counts[(vcpu * cells) + cell]++;

    public void AddTime(int vcpu, int cell, long nanoseconds) => _times[(vcpu * cells) + cell] += nanoseconds;

    public (long Count, TimeSpan Time) Total(int cell)
    {
        long count = 0, time = 0;
        for (int at = cell; at < _counts.Length; at += cells)
        {
            count += Volatile.Read(ref _counts[at]);
            time += Volatile.Read(ref _times[at]);
        }
        return (count, TimeSpan.FromTicks(time / 100));
    }

    public void Report(List<ExitStatistics> list, ExitKind kind, int cell, string target)
    {
        (long count, TimeSpan time) = Total(cell);
        if (count != 0)
            list.Add(new ExitStatistics(kind, target, count, time));
    }
}
