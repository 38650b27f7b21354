namespace Trapline.Virtio.Queues;

/// <summary>What a look into a ring found.</summary>
internal enum RingResult
{
    /// <summary>Nothing: the driver will notify when there is something.</summary>
    Empty,
    Chain,
    /// <summary>The driver broke the rules; the device must be reset.</summary>
    Broken,
}

/// <summary>Where a ring stands: all its state that is not in guest memory.</summary>
/// <param name="Available">Index of the next descriptor, or element of the available ring, that the device has not seen.</param>
/// <param name="Used">Index of the next used one.</param>
/// <param name="AvailableWrap">Packed rings: the wrap counter at <paramref name="Available"/>.</param>
/// <param name="UsedWrap">Packed rings: the wrap counter at <paramref name="Used"/>.</param>
public readonly record struct RingPosition(ushort Available, ushort Used, bool AvailableWrap, bool UsedWrap)
{
    public static RingPosition Start { get; } = new(0, 0, true, true);
}

/// <summary>A chain that goes back to the driver.</summary>
/// <param name="Slots">Descriptors that it takes in a packed ring.</param>
/// <param name="Written">Bytes written, from the beginning of its writable parts.</param>
internal readonly record struct UsedChain(ushort Id, int Slots, uint Written);

/// <summary>The layout of a virtqueue in memory: split or packed. The queue's lock guards it.</summary>
internal interface IRing
{
    RingPosition Position { get; set; }

    /// <summary>Takes the next chain.</summary>
    RingResult TryPop(DescriptorChain chain);

    /// <summary>Gives chains back, all at once; true if the driver wants to be interrupted for them.</summary>
    bool Push(ReadOnlySpan<UsedChain> chains);

    /// <summary>The driver is to notify the next time it makes something available.</summary>
    void AskForNotification();

    /// <summary>There is a chain to take. A guess: another worker may be faster.</summary>
    bool HasMore { get; }
}
