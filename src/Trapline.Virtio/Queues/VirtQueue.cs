using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Virtio.Queues;

/// <summary>State of one virtqueue: what the driver programmed, and where the ring stands.</summary>
[SavedState("virtqueue", 1)]
public sealed record VirtQueueState(ushort Size, bool Enabled, ushort Vector, ulong Descriptors, ulong Driver, ulong Device, RingPosition Position);

/// <summary>One virtqueue: registers that a transport shows, and the ring that workers take requests from.</summary>
/// <remarks>
/// The registers are guarded by the device's register lock, the ring by the queue's own, which is held for one operation on the ring and never
/// while a back end works or an interrupt is sent. Several workers may serve one queue.
/// </remarks>
public sealed class VirtQueue
{
    private readonly Lock _lock = new();
    private readonly VirtioDevice _owner;
    private readonly GuestMemory _memory;
    private IRing? _ring;

    internal VirtQueue(VirtioDevice owner, GuestMemory memory, int index, ushort maximumSize)
    {
        (_owner, _memory, Index, MaximumSize) = (owner, memory, index, maximumSize);
        Reset();
    }

    public int Index { get; }

    /// <summary>Largest size that the driver may choose, in descriptors.</summary>
    public ushort MaximumSize { get; }

    public ushort Size { get; internal set; }

    public bool Enabled { get; private set; }

    /// <summary>The MSI-X vector that tells of used buffers.</summary>
    internal ushort Vector { get; set; }

    internal ulong DescriptorAddress { get; set; }

    /// <summary>The available ring, or the driver's event suppression.</summary>
    internal ulong DriverAddress { get; set; }

    /// <summary>The used ring, or the device's event suppression.</summary>
    internal ulong DeviceAddress { get; set; }

    /// <summary>As after a reset of the device. No worker serves the queue.</summary>
    internal void Reset()
    {
        lock (_lock)
        {
            _ring = null;
            (Enabled, Size, Vector) = (false, MaximumSize, VirtioDevice.NoVector);
            DescriptorAddress = DriverAddress = DeviceAddress = 0;
        }
    }

    /// <summary>Takes the areas into use; false if they are no queue.</summary>
    internal bool TryEnable(ulong features) => TryEnable(features, RingPosition.Start);

    private bool TryEnable(ulong features, RingPosition position)
    {
        bool packed = (features & VirtioFeatures.RingPacked) != 0;
        if (Size == 0 || Size > MaximumSize || (!packed && !System.Numerics.BitOperations.IsPow2(Size)))
            return false;
        bool indirect = (features & VirtioFeatures.IndirectDescriptors) != 0, eventIndex = (features & VirtioFeatures.EventIndex) != 0;
        IRing? ring = packed ? PackedRing.Create(_memory, this, indirect, eventIndex) : SplitRing.Create(_memory, this, indirect, eventIndex);
        if (ring is null)
            return false;
        ring.Position = position;
        lock (_lock)
            (_ring, Enabled) = (ring, true);
        return true;
    }

    /// <summary>Takes the next request; false if there is none or the device does not serve any now. A driver that broke the rules stops the device.</summary>
    public bool TryPop(DescriptorChain chain)
    {
        RingResult result;
        lock (_lock)
        {
            if (_ring is null || !_owner.IsServing)
                return false;
            result = _ring.TryPop(chain);
        }
        if (result == RingResult.Broken)
            _owner.Break();
        return result == RingResult.Chain;
    }

    /// <summary>There is a request to take. A guess: another worker may be faster.</summary>
    public bool HasMore
    {
        get
        {
            lock (_lock)
                return _ring is { HasMore: true };
        }
    }

    /// <summary>Asks to be told when there is a request to take, without taking one; true if there is one already.</summary>
    public bool WantNotification()
    {
        lock (_lock)
        {
            _ring?.AskForNotification();
            return _ring is { HasMore: true };
        }
    }

    /// <summary>Gives a request back to the driver.</summary>
    /// <param name="written">Bytes written, from the beginning of the writable parts.</param>
    public void Push(DescriptorChain chain, uint written)
    {
        chain.NoteWritten();
        Push([new UsedChain(chain.Id, chain.Slots, written)]);
    }

    /// <summary>Gives several back at once; at least one, and memory knows what was written.</summary>
    internal void Push(ReadOnlySpan<UsedChain> chains)
    {
        bool interrupt;
        lock (_lock)
            interrupt = _ring is not null && _ring.Push(chains);
        if (interrupt)
            _owner.InterruptQueue(this);
    }

    /// <summary>Where the ring stands, for <see cref="Rewind"/>.</summary>
    internal RingPosition Position
    {
        get
        {
            lock (_lock)
                return _ring?.Position ?? RingPosition.Start;
        }
    }

    /// <summary>Requests taken since then were not: for a thread that alone serves the queue and has given none back since.</summary>
    internal void Rewind(RingPosition position)
    {
        lock (_lock)
        {
            if (_ring is not null)
                _ring.Position = position;
        }
    }

    internal VirtQueueState Save()
    {
        lock (_lock)
            return new VirtQueueState(Size, Enabled, Vector, DescriptorAddress, DriverAddress, DeviceAddress, _ring?.Position ?? RingPosition.Start);
    }

    /// <exception cref="ArgumentException">The state is none of this queue's.</exception>
    internal void Restore(VirtQueueState state, ulong features)
    {
        Reset();
        (Size, Vector, DescriptorAddress, DriverAddress, DeviceAddress) = (state.Size, state.Vector, state.Descriptors, state.Driver, state.Device);
        if (state.Enabled && !TryEnable(features, state.Position))
            throw new ArgumentException($"queue {Index} does not lie in memory", nameof(state));
    }
}
