namespace Trapline.Machine.Tests;

/// <summary>Turns on the host's processors when a machine has more vCPUs than there are.</summary>
public class ProcessorShareTests
{
    private readonly ProcessorShare _share = ProcessorShare.For(3, 2)!;

    private ProcessorTurn Turn(Action? kick = null) => new(_share, kick ?? (() => { }));

    [Fact]
    public void NobodyWaitsWhereThereAreProcessorsForAll() => Assert.Null(ProcessorShare.For(2, 2));

    [Fact]
    public void AsManyRunAsThereAreProcessors()
    {
        ProcessorTurn a = Turn(), b = Turn(), c = Turn();
        Assert.True(a.TryTake(woken: false));
        Assert.True(b.TryTake(woken: false));
        Assert.False(c.TryTake(woken: false));
        Assert.False(c.TryTake(woken: false)); // asking again changes nothing
        a.Leave();
        Assert.True(c.Wait());
        Assert.True(b.TryTake(woken: false)); // it still has its own
    }

    [Fact]
    public void WhoSpinsGivesWayIfSomebodyWaits()
    {
        ProcessorTurn a = Turn(), b = Turn(), c = Turn();
        a.TryTake(woken: false);
        b.TryTake(woken: false);
        a.Yield();
        Assert.True(a.TryTake(woken: false)); // nobody waits
        c.TryTake(woken: false);
        a.Yield();
        Assert.False(a.TryTake(woken: false));
        Assert.True(c.Wait());
    }

    [Fact]
    public void WhoWasWokenGoesFirst()
    {
        ProcessorTurn a = Turn(), b = Turn(), busy = Turn(), woken = Turn();
        a.TryTake(woken: false);
        b.TryTake(woken: false);
        busy.TryTake(woken: false);
        woken.TryTake(woken: true);
        a.Leave();
        Assert.True(woken.TryTake(woken: true));
        Assert.False(busy.TryTake(woken: false));
    }

    [Fact]
    public async Task ASliceEndsWhenOthersWait()
    {
        TaskCompletionSource kicked = new(); // perhaps more than once, until it gives way
        ProcessorTurn a = Turn(() => kicked.TrySetResult()), b = Turn(), c = Turn();
        a.TryTake(woken: false);
        b.TryTake(woken: false);
        c.TryTake(woken: false);
        Task<bool> waiting = Task.Run(c.Wait);
        await kicked.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.False(a.TryTake(woken: false));
        Assert.True(await waiting.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task WhoIsCalledAwayStopsWaiting()
    {
        ProcessorTurn a = Turn(), b = Turn(), c = Turn();
        a.TryTake(woken: false);
        b.TryTake(woken: false);
        c.TryTake(woken: false);
        Task<bool> waiting = Task.Run(c.Wait);
        c.CallAway();
        Assert.False(await waiting.WaitAsync(TimeSpan.FromSeconds(30)));
        a.Leave();
        Assert.True(a.TryTake(woken: false)); // nobody is in the queue
    }

    [Fact]
    public async Task ManyTakeTurnsAndNobodyIsForgotten()
    {
        int[] turns = new int[6];
        int running = 0, most = 0;
        Task[] vcpus = [.. Enumerable.Range(0, turns.Length).Select(i => Task.Factory.StartNew(() =>
        {
            bool kicked = false;
            ProcessorTurn turn = new(_share, () => Volatile.Write(ref kicked, true));
            for (int round = 0; round < 200; round++)
            {
                if (!turn.TryTake(round % 3 == 0))
                    Assert.True(turn.Wait());
                int now = Interlocked.Increment(ref running);
                InterlockedMax(ref most, now);
                turns[i]++;
                Thread.Yield();
                Interlocked.Decrement(ref running);
                if (round % 2 == 0)
                    turn.Leave();
                else
                    turn.Yield();
                // Between giving way and asking again it still counts as running: here, too.
                if (round % 2 == 1 && turn.GiveWay)
                    turn.Leave();
            }
            turn.Leave();
        }, TaskCreationOptions.LongRunning))];
        await Task.WhenAll(vcpus).WaitAsync(TimeSpan.FromMinutes(1));
        Assert.All(turns, n => Assert.Equal(200, n));
        Assert.InRange(most, 1, 2);
    }

    private static void InterlockedMax(ref int place, int value)
    {
        int seen = Volatile.Read(ref place);
        while (seen < value && Interlocked.CompareExchange(ref place, value, seen) is var found && found != seen)
            seen = found;
    }
}
