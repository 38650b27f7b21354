using Trapline.Memory;

namespace Trapline.Virtio.Queues;

/// <summary>A split virtqueue: descriptor table, available ring, used ring (virtio 1.2, 2.7).</summary>
/// <remarks>
/// The walk of a chain copies each descriptor once and judges the copy, so a guest that changes it meanwhile gains nothing; it ends because a
/// chain takes no more descriptors than the queue has.
/// </remarks>
internal sealed class SplitRing(GuestMemory memory, QueueArea descriptors, QueueArea available, QueueArea used, int size, bool indirect, bool eventIndex) : IRing
{
    private const int IndexAt = 2, RingAt = 4;
    private const ushort NoInterrupt = 1, NoNotify = 1;

    private ushort _nextAvailable, _nextUsed;
    private bool _quiet;

    /// <summary>The ring in a queue's areas; null if they are not RAM, or not aligned (2.7, table).</summary>
    public static SplitRing? Create(GuestMemory memory, VirtQueue queue, bool indirect, bool eventIndex)
    {
        int size = queue.Size;
        return QueueArea.Find(memory, queue.DescriptorAddress, size * SplitDescriptor.Size, 16) is { } descriptors
            && QueueArea.Find(memory, queue.DriverAddress, RingAt + (size * sizeof(ushort)) + sizeof(ushort), 2) is { } available
            && QueueArea.Find(memory, queue.DeviceAddress, RingAt + (size * UsedElement.Size) + sizeof(ushort), 4) is { } used
            ? new SplitRing(memory, descriptors, available, used, size, indirect, eventIndex) : null;
    }

    public RingPosition Position
    {
        get => new(_nextAvailable, _nextUsed, true, true);
        set => (_nextAvailable, _nextUsed) = (value.Available, value.Used);
    }

    private int UsedEventAt => RingAt + (size * sizeof(ushort));

    private int AvailableEventAt => RingAt + (size * UsedElement.Size);

    public bool HasMore => available.Acquire(IndexAt) != _nextAvailable;

    public RingResult TryPop(DescriptorChain chain)
    {
        ushort index = available.Acquire(IndexAt);
        if (index == _nextAvailable)
        {
            AskForNotification();
            index = available.Acquire(IndexAt);
            if (index == _nextAvailable)
                return RingResult.Empty;
        }
        if ((ushort)(index - _nextAvailable) > size)
            return RingResult.Broken;
        Quieten();
        ushort head = available.Get<ushort>(RingAt + ((_nextAvailable & (size - 1)) * sizeof(ushort)));
        chain.Clear();
        chain.Id = head;
        if (!Walk(chain, head))
            return RingResult.Broken;
        _nextAvailable++;
        return RingResult.Chain;
    }

    private bool Walk(DescriptorChain chain, ushort index)
    {
        for (int seen = 0; seen < size && index < size; seen++)
        {
            SplitDescriptor descriptor = descriptors.Get<SplitDescriptor>(index * SplitDescriptor.Size);
            if ((descriptor.Flags & DescriptorFlags.Indirect) != 0)
            {
                // The last of a chain, whose own flag for writing means nothing (2.7.5.3).
                return indirect && (descriptor.Flags & DescriptorFlags.Next) == 0
                    && IndirectTable.TryAddChained(chain, IndirectTable.Find(memory, descriptor.Address, descriptor.Length));
            }
            if (!chain.TryAdd(descriptor.Address, descriptor.Length, (descriptor.Flags & DescriptorFlags.Write) != 0))
                return false;
            if ((descriptor.Flags & DescriptorFlags.Next) == 0)
                return true;
            index = descriptor.Next;
        }
        return false;
    }

    public bool Push(ReadOnlySpan<UsedChain> chains)
    {
        ushort old = _nextUsed;
        foreach (UsedChain chain in chains)
            used.Put(RingAt + ((_nextUsed++ & (size - 1)) * UsedElement.Size), new UsedElement(chain.Id, chain.Written));
        used.Release(IndexAt, _nextUsed);
        // The driver publishes what it wants and then looks at the index; we the other way round (2.7.10).
        Interlocked.MemoryBarrier();
        if (!eventIndex)
            return (available.Acquire(0) & NoInterrupt) == 0;
        ushort wanted = available.Acquire(UsedEventAt);
        return (ushort)(_nextUsed - wanted - 1) < (ushort)(_nextUsed - old);
    }

    /// <summary>While chains are taken without being told, notifications are only exits.</summary>
    private void Quieten()
    {
        if (eventIndex || _quiet)
            return;
        _quiet = true;
        used.Release(0, NoNotify);
    }

    public void AskForNotification()
    {
        if (eventIndex)
            used.Release(AvailableEventAt, _nextAvailable);
        else
            used.Release(0, 0);
        _quiet = false;
        Interlocked.MemoryBarrier();
    }
}
