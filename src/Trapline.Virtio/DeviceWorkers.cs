using System.Numerics;
using Trapline.Host;

namespace Trapline.Virtio;

/// <summary>The threads of one device: they sleep until a queue is named, and one that is asleep is woken for it.</summary>
/// <remarks>The threads begin with the first notification, so that a device whose driver never comes costs none.</remarks>
internal sealed class DeviceWorkers(string name, int count, Action<int, ulong> serve) : IDisposable
{
    private readonly HostEvent[] _wakes = [.. Enumerable.Range(0, count).Select(_ => new HostEvent())];
    private readonly Thread?[] _threads = new Thread?[count];
    private ulong _pending;
    private uint _asleep;
    private int _started;
    private volatile bool _disposed;

    /// <summary>Has some worker look at these queues. From any thread; does not wait.</summary>
    public void Notify(ulong queues)
    {
        Interlocked.Or(ref _pending, queues);
        if (Volatile.Read(ref _started) == 0 && Interlocked.Exchange(ref _started, 1) == 0)
            Start();
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
                _wakes[worker].Wait();
            Interlocked.And(ref _asleep, ~me);
            ulong queues = Interlocked.Exchange(ref _pending, 0);
            if (queues != 0 && !_disposed)
                serve(worker, queues);
        }
    }

    /// <summary>Ends the threads; none runs when this returns. Not from one of them.</summary>
    public void Dispose()
    {
        _disposed = true;
        foreach (HostEvent wake in _wakes)
            wake.Set();
        foreach (Thread? thread in _threads)
            thread?.Join();
    }
}
