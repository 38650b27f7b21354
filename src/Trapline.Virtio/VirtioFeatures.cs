namespace Trapline.Virtio;

/// <summary>Feature bits that all device types share (virtio 1.2, 6).</summary>
public static class VirtioFeatures
{
    public const ulong IndirectDescriptors = 1ul << 28;
    public const ulong EventIndex = 1ul << 29;
    public const ulong Version1 = 1ul << 32;
    public const ulong RingPacked = 1ul << 34;
    public const ulong RingReset = 1ul << 40;

    /// <summary>What every device here offers.</summary>
    public const ulong Common = IndirectDescriptors | EventIndex | Version1 | RingPacked | RingReset;

    /// <summary>Bits that a legacy driver can see (2.2).</summary>
    public const ulong LegacyBits = uint.MaxValue;
}
