using Trapline.Core;

namespace Trapline.Devices.Timers;

/// <summary>Conversion between a clock's nanoseconds and the ticks of an oscillator, exact for any machine's life.</summary>
internal readonly struct TickRate(long hertz)
{
    private const long NanosecondsPerSecond = 1_000_000_000;

    /// <summary>Whole ticks since time zero.</summary>
    public long Ticks(long nanoseconds)
    {
        long seconds = Math.DivRem(nanoseconds, NanosecondsPerSecond, out long rest);
        return (seconds * hertz) + (rest * hertz / NanosecondsPerSecond);
    }

    /// <summary>The first nanosecond at which <see cref="Ticks"/> has reached <paramref name="ticks"/>.</summary>
    public long Nanoseconds(long ticks)
    {
        long seconds = Math.DivRem(ticks, hertz, out long rest);
        return (seconds * NanosecondsPerSecond) + (((rest * NanosecondsPerSecond) + hertz - 1) / hertz);
    }
}
