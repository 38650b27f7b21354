namespace Trapline.Core;

/// <summary>The machine's time: nanoseconds that the guest has lived. It stands still while the machine is paused.</summary>
public interface IGuestClock
{
    /// <summary>Nanoseconds since the machine was first started.</summary>
    long Nanoseconds { get; }

    /// <summary>Wall-clock time that the guest should see, UTC.</summary>
    DateTime UtcNow { get; }

    /// <summary>Makes a disarmed timer. <paramref name="expired"/> runs on the machine's timer thread, never under a device lock.</summary>
    IClockTimer CreateTimer(Action expired);
}

/// <summary>A one-shot timer on the guest clock. Arming again replaces the earlier deadline.</summary>
public interface IClockTimer : IDisposable
{
    /// <summary>Fires once when the clock reaches <paramref name="deadlineNanoseconds"/>; at once if that is past.</summary>
    void Arm(long deadlineNanoseconds);

    void Disarm();
}
