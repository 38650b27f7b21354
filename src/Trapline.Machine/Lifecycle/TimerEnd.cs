namespace Trapline.Machine;

internal static class TimerEnd
{
    /// <summary>Disposes a timer and waits for what it has begun: after this it calls nobody.</summary>
    public static void End(this Timer timer)
    {
        using ManualResetEvent over = new(false);
        if (timer.Dispose(over))
            over.WaitOne();
    }
}
