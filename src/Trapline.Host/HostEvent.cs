using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>An auto-reset event with a precise deadline: what an idle vCPU and the timer thread sleep on. No host CPU is used while waiting.</summary>
/// <remarks>
/// A futex (man 2 futex) on one word: 0 clear, 1 set. Set before wait is remembered; several sets are one. One waiter at a time.
/// Unsafe because the kernel needs the word's address: the word lives in the pinned heap, so it stays put and outlives every call.
/// </remarks>
public sealed unsafe class HostEvent
{
    private readonly int[] _word = GC.AllocateArray<int>(1, pinned: true);

    /// <summary>Wakes the waiter, or lets the next wait return at once. Costs one interlocked operation when already set.</summary>
    public void Set()
    {
        if (Interlocked.Exchange(ref _word[0], 1) == 0)
        {
            fixed (int* word = _word)
                Libc.Futex(Libc.SysFutex, word, Libc.FutexWakePrivate, 1, null, null, 0);
        }
    }

    /// <summary>Waits until set, and clears.</summary>
    public void Wait() => WaitCore(null);

    /// <summary>Waits until set (true) or until the host's monotonic clock reaches the deadline (false).</summary>
    /// <param name="hostNanoseconds">A time on <see cref="HostTime.Nanoseconds"/>'s scale.</param>
    public bool WaitUntil(long hostNanoseconds)
    {
        Libc.Timespec deadline = new(Math.Max(hostNanoseconds, 0));
        return WaitCore(&deadline);
    }

    private bool WaitCore(Libc.Timespec* deadline)
    {
        fixed (int* word = _word)
        {
            while (Interlocked.Exchange(ref *word, 0) == 0)
            {
                // BITSET: the deadline is absolute, on CLOCK_MONOTONIC.
                int result = (int)Libc.Futex(Libc.SysFutex, word, Libc.FutexWaitBitsetPrivate, 0, deadline, null, uint.MaxValue);
                if (result != 0 && Marshal.GetLastPInvokeError() == Libc.Etimedout)
                    return Interlocked.Exchange(ref *word, 0) != 0;
            }
            return true;
        }
    }
}

/// <summary>The host's monotonic clock.</summary>
public static class HostTime
{
    /// <summary>Nanoseconds since some fixed moment; never goes back.</summary>
    public static long Nanoseconds => Stopwatch.Frequency == 1_000_000_000
        ? Stopwatch.GetTimestamp()
        : (long)((Int128)Stopwatch.GetTimestamp() * 1_000_000_000 / Stopwatch.Frequency);

    /// <summary>The host's <c>clock_gettime</c> (clock_gettime(2)), whose CLOCK_MONOTONIC <see cref="Nanoseconds"/> is: for emitted code.</summary>
    public static nint MonotonicReader { get; } = NativeLibrary.GetExport(NativeLibrary.Load("libc", typeof(HostTime).Assembly, null), "clock_gettime");

    /// <summary>Asks the host to wake the calling thread's timed waits promptly (the default slack is 50 microseconds).</summary>
    public static void MakeThisThreadPunctual() => Libc.Prctl(Libc.PrSetTimerSlack, 1, 0, 0, 0);
}
