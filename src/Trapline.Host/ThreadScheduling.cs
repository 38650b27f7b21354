using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>How the host schedules the calling thread.</summary>
/// <remarks>Unsafe because the kernel fills and reads locals of these methods. On Linux the calls take 0 for the calling thread alone, not its process.</remarks>
public static unsafe partial class ThreadScheduling
{
    /// <summary>Processors that a set can name.</summary>
    public const int MostProcessors = 1024;

    private const int ThreadCpuClock = 3, PriorityOfProcess = 0;

    /// <summary>Nanoseconds that the thread has run.</summary>
    public static long CpuNanoseconds
    {
        get
        {
            Libc.Timespec time = default;
            GetClock(ThreadCpuClock, &time);
            return time.Seconds * 1_000_000_000 + time.Nanoseconds;
        }
    }

    /// <summary>Lets the thread run on these processors alone.</summary>
    /// <exception cref="Win32Exception">The host has none of them, or does not let this process use any.</exception>
    public static void Pin(IEnumerable<int> processors)
    {
        byte* set = stackalloc byte[MostProcessors / 8];
        new Span<byte>(set, MostProcessors / 8).Clear();
        foreach (int processor in processors)
            set[processor / 8] |= (byte)(1 << processor % 8);
        if (SetAffinity(0, MostProcessors / 8, set) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
    }

    /// <summary>Sets the thread's nice value, -20 to 19: each step is a quarter more or less of the processor beside others (sched(7)).</summary>
    /// <exception cref="Win32Exception">Values below the present one need a right that this process has not.</exception>
    public static void SetNice(int value)
    {
        if (SetPriority(PriorityOfProcess, 0, value) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity", SetLastError = true)]
    private static partial int SetAffinity(int thread, nuint size, byte* set);

    [LibraryImport("libc", EntryPoint = "setpriority", SetLastError = true)]
    private static partial int SetPriority(int which, int who, int value);

    [LibraryImport("libc", EntryPoint = "clock_gettime", SetLastError = true)]
    private static partial int GetClock(int clock, Libc.Timespec* time);
}
