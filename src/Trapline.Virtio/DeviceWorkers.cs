using System.Numerics;
using System.Runtime.InteropServices;
using Trapline.Host;

namespace Trapline.Virtio;

/// <summary>The threads of one device: they sleep until a queue is named, and one that is asleep is woken for it.</summary>
/// <remarks>
/// The threads begin with the first notification, so that a device whose driver never comes costs none. Once somebody wants a queue's bell, they all sleep
/// where a bell wakes one of them.
/// </remarks>
/// <param name="queues">How many queues can be named.</param>
internal sealed class DeviceWorkers(string name, int count, int queues, Action<int, ulong> serve) : IDisposable
{
    private readonly Lock _hanging = new();
    private EventSet? _bells; // one for each queue, then one for those that were named otherwise
    private readonly HostEvent[] _wakes = [.. Enumerable.Range(0, count).Select(_ => new HostEvent())];
    private readonly Thread?[] _threads = new Thread?[count];
    private ulong _pending;
    private uint _asleep;
    private int _started;
    private volatile bool _disposed;

    /// <summary>An eventfd by which a queue is named too.</summary>
    public SafeHandle Bell(int queue)
    {
        lock (_hanging)
        {
            if (_bells == null)
            {
                Volatile.Write(ref _bells, new EventSet(queues + 1));
                foreach (HostEvent wake in _wakes)
                    wake.Set(); // to lie down there
            }
            return _bells[queue];
        }
    }

    /// <summary>Has some worker look at these queues. From any thread; does not wait.</summary>
    public void Notify(ulong named)
    {
        Interlocked.Or(ref _pending, named);
        if (Volatile.Read(ref _started) == 0 && Interlocked.Exchange(ref _started, 1) == 0)
            Start();
        if (Volatile.Read(ref _bells) is { } bells)
        {
            if (Volatile.Read(ref _asleep) != 0)
                bells.Set(queues);
            return;
        }
        for (uint asleep = Volatile.Read(ref _asleep); asleep != 0; asleep = Volatile.Read(ref _asleep))
        {
            uint one = asleep & (0 - asleep);
            if ((Interlocked.And(ref _asleep, ~one) & one) == 0)
                continue;
            _wakes[BitOperations.TrailingZeroCount(one)].Set();
            return;
        }
    }

    private void Start()
    {
        for (int i = 0; i < count; i++)
        {
            int worker = i;
            _threads[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = count == 1 ? name : $"{name}.{i}" };
            _threads[i]!.Start();
        }
    }

    private void Work(int worker)
    {
        uint me = 1u << worker;
        while (!_disposed)
        {
            // Asleep first, then a last look: who names a queue in between finds this worker in the list.
            Interlocked.Or(ref _asleep, me);
            if (Volatile.Read(ref _pending) == 0)
                Sleep(worker);
            Interlocked.And(ref _asleep, ~me);
            ulong named = Interlocked.Exchange(ref _pending, 0);
            if (named != 0 && !_disposed)
                serve(worker, named);
        }
        _bells?.Set(queues); // the next one's turn to hear of the end
    }

    private void Sleep(int worker)
    {
        if (Volatile.Read(ref _bells) is not { } bells)
            _wakes[worker].Wait();
        else if (bells.Wait() is var rung && rung < queues)
            Interlocked.Or(ref _pending, 1ul << rung);
    }

    /// <summary>Ends the threads; none runs when this returns. Not from one of them.</summary>
    public void Dispose()
    {
        _disposed = true;
        foreach (HostEvent wake in _wakes)
            wake.Set();
        _bells?.Set(queues);
        foreach (Thread? thread in _threads)
            thread?.Join();
        _bells?.Dispose();
    }
}
