using Trapline.Memory;

namespace Trapline.Virtio.Queues;

/// <summary>A packed virtqueue: one ring of descriptors that driver and device turn by a flag each (virtio 1.2, 2.8).</summary>
internal sealed class PackedRing(GuestMemory memory, QueueArea ring, QueueArea driver, QueueArea device, int size, bool indirect, bool eventIndex) : IRing
{
    private const int FlagsAt = 14, EventFlagsAt = 2;
    private const ushort Enable = 0, Disable = 1, AtDescriptor = 2;
    private const ushort EventWrap = 0x8000;

    private int _nextAvailable, _nextUsed;
    private bool _availableWrap = true, _usedWrap = true, _quiet;

    /// <summary>The ring in a queue's areas; null if they are not RAM, or not aligned (2.8, table).</summary>
    public static PackedRing? Create(GuestMemory memory, VirtQueue queue, bool indirect, bool eventIndex) =>
        QueueArea.Find(memory, queue.DescriptorAddress, queue.Size * PackedDescriptor.Size, 16) is { } ring
        && QueueArea.Find(memory, queue.DriverAddress, 4, 4) is { } driver
        && QueueArea.Find(memory, queue.DeviceAddress, 4, 4) is { } device
            ? new PackedRing(memory, ring, driver, device, queue.Size, indirect, eventIndex) : null;

    public RingPosition Position
    {
        get => new((ushort)_nextAvailable, (ushort)_nextUsed, _availableWrap, _usedWrap);
        set => (_nextAvailable, _nextUsed, _availableWrap, _usedWrap) = (value.Available % size, value.Used % size, value.AvailableWrap, value.UsedWrap);
    }

    public bool HasMore => IsAvailable(ring.Acquire((_nextAvailable * PackedDescriptor.Size) + FlagsAt));

    private bool IsAvailable(ushort flags) =>
        (flags & DescriptorFlags.Available) != 0 == _availableWrap && (flags & DescriptorFlags.Used) != 0 != _availableWrap;

    public RingResult TryPop(DescriptorChain chain)
    {
        if (!HasMore)
        {
            AskForNotification();
            if (!HasMore)
                return RingResult.Empty;
        }
        Quieten();
        chain.Clear();
        if (!Walk(chain))
            return RingResult.Broken;
        _nextAvailable += chain.Slots;
        if (_nextAvailable >= size)
        {
            _nextAvailable -= size;
            _availableWrap = !_availableWrap;
        }
        return RingResult.Chain;
    }

    /// <summary>A chain is a run of descriptors; the driver made all of them available before the first (2.8.6). The last one's id counts (2.8.8).</summary>
    private bool Walk(DescriptorChain chain)
    {
        int at = _nextAvailable;
        for (int seen = 1; seen <= size; seen++)
        {
            PackedDescriptor descriptor = ring.Get<PackedDescriptor>(at * PackedDescriptor.Size);
            (chain.Id, chain.Slots) = (descriptor.Id, seen);
            if ((descriptor.Flags & DescriptorFlags.Indirect) != 0)
            {
                return indirect && seen == 1 && (descriptor.Flags & DescriptorFlags.Next) == 0
                    && IndirectTable.Find(memory, descriptor.Address, descriptor.Length) is { IsEmpty: false } table && IndirectTable.TryAddAll(chain, table);
            }
            if (!chain.TryAdd(descriptor.Address, descriptor.Length, (descriptor.Flags & DescriptorFlags.Write) != 0))
                return false;
            if ((descriptor.Flags & DescriptorFlags.Next) == 0)
                return true;
            at = at + 1 == size ? 0 : at + 1;
        }
        return false;
    }

    public bool Push(ReadOnlySpan<UsedChain> chains)
    {
        int first = _nextUsed, old = Linear(_nextUsed, _usedWrap);
        ushort firstFlags = 0;
        for (int i = 0; i < chains.Length; i++)
        {
            UsedChain chain = chains[i];
            int at = _nextUsed * PackedDescriptor.Size;
            ushort turn = _usedWrap ? (ushort)(DescriptorFlags.Available | DescriptorFlags.Used) : (ushort)0;
            ushort flags = (ushort)(turn | (chain.Written != 0 ? DescriptorFlags.Write : 0));
            ring.Put(at + sizeof(ulong), chain.Written);
            ring.Put(at + sizeof(ulong) + sizeof(uint), chain.Id);
            // The driver looks at the first, which goes last: all appear at once.
            if (i == 0)
                firstFlags = flags;
            else
                ring.Release(at + FlagsAt, flags);
            _nextUsed += chain.Slots;
            if (_nextUsed >= size)
            {
                _nextUsed -= size;
                _usedWrap = !_usedWrap;
            }
        }
        ring.Release((first * PackedDescriptor.Size) + FlagsAt, firstFlags);
        Interlocked.MemoryBarrier();
        ushort wish = driver.Acquire(EventFlagsAt);
        if (wish != AtDescriptor || !eventIndex)
            return wish != Disable;
        ushort wanted = driver.Acquire(0);
        int position = Linear(wanted & ~EventWrap, (wanted & EventWrap) != 0);
        return Behind(position, old) < Behind(Linear(_nextUsed, _usedWrap), old);
    }

    /// <summary>A place in two turns of the ring.</summary>
    private int Linear(int index, bool wrap) => wrap ? index : index + size;

    private int Behind(int position, int start) => (position - start + (2 * size)) % (2 * size);

    private void Quieten()
    {
        if (_quiet)
            return;
        _quiet = true;
        device.Release(EventFlagsAt, Disable);
    }

    public void AskForNotification()
    {
        if (eventIndex)
        {
            device.Release(0, (ushort)(_nextAvailable | (_availableWrap ? EventWrap : 0)));
            device.Release(EventFlagsAt, AtDescriptor);
        }
        else
        {
            device.Release(EventFlagsAt, Enable);
        }
        _quiet = false;
        Interlocked.MemoryBarrier();
    }
}
