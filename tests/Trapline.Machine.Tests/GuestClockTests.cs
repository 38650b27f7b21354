using System.Diagnostics;
using Trapline.Core;

namespace Trapline.Machine.Tests;

public class GuestClockTests
{
    [Fact]
    public void TimersFireInOrderAndOnTime()
    {
        using GuestClock clock = new();
        List<(int Id, long Late)> fired = [];
        using CountdownEvent all = new(40);
        for (int i = 0; i < 40; i++)
        {
            int id = i;
            long deadline = (40 - i) * 1_000_000L;
            clock.CreateTimer(() =>
            {
                fired.Add((id, clock.Nanoseconds - deadline));
                all.Signal();
            }).Arm(deadline);
        }
        clock.Run();
        Assert.True(all.Wait(5000));
        Assert.Equal(Enumerable.Range(0, 40).Reverse(), fired.Select(f => f.Id));
        Assert.All(fired, f => Assert.True(f.Late >= 0));
        long median = fired.Select(f => f.Late).Order().ElementAt(20);
        Assert.True(median < 50_000_000, $"median lateness {median} ns");
    }

    [Fact]
    public void ASwitchedOffClockFiresNothing()
    {
        using GuestClock clock = new();
        int count = 0;
        IClockTimer timer = clock.CreateTimer(() => Interlocked.Increment(ref count));
        timer.Arm(0);
        Thread.Sleep(TimeSpan.FromMilliseconds(20));
        Assert.Equal(0, count);
        Assert.Equal(0, clock.Nanoseconds);
        clock.Run();
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref count) == 1, 5000));
        clock.Stand();
        long now = clock.Nanoseconds;
        timer.Arm(now);
        Thread.Sleep(TimeSpan.FromMilliseconds(20));
        Assert.Equal((1, now), (count, clock.Nanoseconds));
        clock.Run();
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref count) == 2, 5000));
    }

    [Fact]
    public void DisarmedAndRearmedTimersFireOnceAtTheLastDeadline()
    {
        using GuestClock clock = new();
        clock.Run();
        int count = 0;
        long at = 0;
        IClockTimer timer = clock.CreateTimer(() =>
        {
            at = clock.Nanoseconds;
            Interlocked.Increment(ref count);
        });
        long deadline = 0;
        for (int i = 0; i < 1000; i++)
            timer.Arm(deadline = clock.Nanoseconds + 20_000_000 - i);
        IClockTimer never = clock.CreateTimer(() => Interlocked.Add(ref count, 100));
        never.Arm(clock.Nanoseconds + 5_000_000);
        never.Disarm();
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref count) != 0, 5000));
        Thread.Sleep(TimeSpan.FromMilliseconds(20));
        Assert.Equal(1, count);
        Assert.True(at >= deadline);
    }

    [Fact]
    public void AnIdleClockUsesNoProcessor()
    {
        using GuestClock clock = new();
        clock.Run();
        clock.CreateTimer(() => { }).Arm(long.MaxValue);
        TimeSpan before = Process.GetCurrentProcess().TotalProcessorTime;
        Thread.Sleep(TimeSpan.FromMilliseconds(300));
        // Other tests may run beside this one: a spinning thread would take all 300 ms and its own core.
        Assert.True(Process.GetCurrentProcess().TotalProcessorTime - before < TimeSpan.FromMilliseconds(1200));
    }

    [Fact]
    public void ArmingAllocatesNothing()
    {
        using GuestClock clock = new();
        clock.Run();
        IClockTimer timer = clock.CreateTimer(() => { });
        timer.Arm(long.MaxValue);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 10_000; i++)
            timer.Arm(long.MaxValue - i);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
