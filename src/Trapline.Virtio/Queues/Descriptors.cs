using System.Runtime.InteropServices;

namespace Trapline.Virtio.Queues;

/// <summary>Flags of a descriptor (virtio 1.2, 2.7.5 and 2.8.1).</summary>
internal static class DescriptorFlags
{
    public const ushort Next = 1, Write = 2, Indirect = 4;

    /// <summary>Packed rings: the driver's and the device's wrap counter.</summary>
    public const ushort Available = 1 << 7, Used = 1 << 15;
}

/// <summary>A descriptor of a split ring (2.7.5).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal readonly record struct SplitDescriptor(ulong Address, uint Length, ushort Flags, ushort Next)
{
    public const int Size = 16;
}

/// <summary>A descriptor of a packed ring (2.8.13).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal readonly record struct PackedDescriptor(ulong Address, uint Length, ushort Id, ushort Flags)
{
    public const int Size = 16;
}

/// <summary>An element of a split ring's used ring (2.7.8).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal readonly record struct UsedElement(uint Id, uint Length)
{
    public const int Size = 8;
}
