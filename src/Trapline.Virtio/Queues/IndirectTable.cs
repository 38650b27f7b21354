using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Virtio.Queues;

/// <summary>A table of descriptors outside the ring (virtio 1.2, 2.7.5.3 and 2.8.7).</summary>
internal static class IndirectTable
{
    /// <summary>The table's bytes; empty if it is no table, or not in memory.</summary>
    public static ReadOnlySpan<byte> Find(GuestMemory memory, ulong address, uint length) =>
        length != 0 && length % SplitDescriptor.Size == 0 && memory.TryGetReadOnlySpan(new Gpa(address), length, out ReadOnlySpan<byte> table) ? table : default;

    /// <summary>A split ring's: the descriptors are chained in it, from the first.</summary>
    public static bool TryAddChained(DescriptorChain chain, ReadOnlySpan<byte> table)
    {
        int count = table.Length / SplitDescriptor.Size;
        for (int index = 0, seen = 0; index < count && seen < count; seen++)
        {
            SplitDescriptor descriptor = MemoryMarshal.Read<SplitDescriptor>(table[(index * SplitDescriptor.Size)..]);
            if ((descriptor.Flags & DescriptorFlags.Indirect) != 0 || !chain.TryAdd(descriptor.Address, descriptor.Length, (descriptor.Flags & DescriptorFlags.Write) != 0))
                return false;
            if ((descriptor.Flags & DescriptorFlags.Next) == 0)
                return true;
            index = descriptor.Next;
        }
        return false;
    }

    /// <summary>A packed ring's: all of them, in order (2.8.7).</summary>
    public static bool TryAddAll(DescriptorChain chain, ReadOnlySpan<byte> table)
    {
        for (; !table.IsEmpty; table = table[PackedDescriptor.Size..])
        {
            PackedDescriptor descriptor = MemoryMarshal.Read<PackedDescriptor>(table);
            if ((descriptor.Flags & DescriptorFlags.Indirect) != 0 || !chain.TryAdd(descriptor.Address, descriptor.Length, (descriptor.Flags & DescriptorFlags.Write) != 0))
                return false;
        }
        return true;
    }
}
