using System.Globalization;

namespace Trapline.Machine;

/// <summary>Memory for guests, and in what pages.</summary>
internal static class HostMemory
{
    private const string HugePages = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

    /// <summary>What the default guest is given, and some for ourselves. MiB.</summary>
    private const long Wanted = 768;

    public static IEnumerable<PreflightFinding> Findings()
    {
        yield return Available(HostFile.Read("/proc/meminfo"));
        yield return Pages(HostFile.Read(HugePages));
    }

    internal static PreflightFinding Available(string? information)
    {
        foreach (string line in (information ?? "").Split('\n'))
        {
            if (!line.StartsWith("MemAvailable:", StringComparison.Ordinal))
                continue;
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (!long.TryParse(words[1], CultureInfo.InvariantCulture, out long kibibytes))
                break;
            string finding = $"{kibibytes >> 10} MiB available";
            return kibibytes >> 10 >= Wanted
                ? new("memory", PreflightState.Good, finding)
                : new("memory", PreflightState.Warning, finding, "the default guest has 512 MiB: give it less with --memory, or end something else");
        }
        return new("memory", PreflightState.Note, "the host does not say how much is available");
    }

    /// <param name="setting">Its choices, the one in force in brackets.</param>
    internal static PreflightFinding Pages(string? setting)
    {
        if (setting == null)
            return new("huge pages", PreflightState.Note, "the host's kernel has none for shared memory");
        int start = setting.IndexOf('['), end = setting.IndexOf(']');
        string chosen = start >= 0 && end > start ? setting[(start + 1)..end] : "unknown";
        return chosen is "always" or "within_size" or "force"
            ? new("huge pages", PreflightState.Good, $"shared memory uses them ({chosen})")
            : new("huge pages", PreflightState.Note, $"guest RAM does not use them ({chosen})", $"for big guests: write 'within_size' to {HugePages}");
    }
}
