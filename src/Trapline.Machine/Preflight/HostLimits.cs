using System.Globalization;

namespace Trapline.Machine;

/// <summary>What this process may have of the host (man 5 proc, /proc/PID/limits; cgroups' pids.max).</summary>
internal static class HostLimits
{
    private const long FilesWanted = 1024, TasksWanted = 64, LockedMebibytesWanted = 8;

    public static IEnumerable<PreflightFinding> Findings() => From(HostFile.Read("/proc/self/limits") ?? "", CgroupTasks());

    /// <param name="limits">The kernel's table.</param>
    /// <param name="cgroupTasks">The control group's own limit of tasks; null for none.</param>
    internal static IEnumerable<PreflightFinding> From(string limits, long? cgroupTasks)
    {
        long files = Soft(limits, "Max open files"), tasks = Math.Min(Soft(limits, "Max processes"), cgroupTasks ?? long.MaxValue);
        long locked = Soft(limits, "Max locked memory");
        yield return files >= FilesWanted
            ? new("open files", PreflightState.Good, Text(files))
            : new("open files", PreflightState.Warning, Text(files), "for many machines in one process: ulimit -n 4096");
        yield return tasks >= TasksWanted
            ? new("tasks", PreflightState.Good, Text(tasks))
            : new("tasks", PreflightState.Warning, Text(tasks), "a machine needs a thread for each CPU and a few more: raise ulimit -u, or pids.max of the control group");
        yield return locked >> 20 >= LockedMebibytesWanted
            ? new("locked memory", PreflightState.Good, locked == long.MaxValue ? "unlimited" : $"{locked >> 20} MiB")
            : new("locked memory", PreflightState.Note, $"{locked >> 10} KiB", "nothing needs it yet; for devices that lock guest RAM: ulimit -l unlimited");
    }

    private static string Text(long limit) => limit == long.MaxValue ? "unlimited" : $"at most {limit}";

    private static long Soft(string limits, string name)
    {
        foreach (string line in limits.Split('\n'))
            if (line.StartsWith(name, StringComparison.Ordinal))
                return long.TryParse(line[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture, out long limit)
                    ? limit : long.MaxValue;
        return long.MaxValue;
    }

    private static long? CgroupTasks()
    {
        // Version 2: "0::PATH". The root group has no limit and no file.
        string? path = HostFile.Read("/proc/self/cgroup")?.Split('\n').FirstOrDefault(l => l.StartsWith("0::", StringComparison.Ordinal))?[3..];
        return long.TryParse(HostFile.Read($"/sys/fs/cgroup{path}/pids.max"), CultureInfo.InvariantCulture, out long limit) ? limit : null;
    }
}
