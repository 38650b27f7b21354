using Trapline.Virtio.Tests;
using Buffer = Trapline.Virtio.Tests.Buffer;

namespace Trapline.Fuzz.Virtio;

/// <summary>A driver's queue that is not given more than it holds: what breaks a device is to be a mutation, not an accident.</summary>
internal sealed class CountedQueue(DriverQueue queue)
{
    // Of each request that the device has, by its id: how many descriptors it takes.
    private readonly int[] _slots = new int[Math.Max((int)queue.Size, 1)];
    private int _held;

    public DriverQueue Queue => queue;

    public bool HasRoom(int buffers) => _held + buffers <= queue.Size;

    public void Add(ReadOnlySpan<Buffer> buffers, ulong table)
    {
        int slots = table != 0 ? 1 : buffers.Length;
        ushort id = table != 0 ? queue.AddIndirect(table, buffers) : queue.Add(buffers);
        _slots[id % _slots.Length] = slots;
        _held += slots;
    }

    /// <summary>A request came back.</summary>
    public bool TryTake()
    {
        if (_held == 0 || queue.TakeUsed() is not { } used)
            return false;
        ref int slots = ref _slots[used.Id % (uint)_slots.Length];
        bool known = slots > 0;
        // A ring that was scribbled on may name anything, for ever.
        _held = known ? _held - slots : 0;
        slots = 0;
        return known;
    }
}
