namespace Trapline.Storage.Qcow2;

/// <summary>Bits of L1 and L2 entries (qcow2: Cluster mapping).</summary>
internal static class L2Entry
{
    /// <summary>The cluster's reference count is exactly one: it may be written in place.</summary>
    public const ulong Copied = 1ul << 63;

    public const ulong Compressed = 1ul << 62;

    /// <summary>Reads as zeroes, whether or not a cluster is allocated.</summary>
    public const ulong Zero = 1;

    /// <summary>Bits 9 to 55.</summary>
    public const long OffsetMask = 0x00FF_FFFF_FFFF_FE00;

    public static long Offset(ulong entry) => (long)entry & OffsetMask;

    public static ExtentKind KindOf(ulong entry) =>
        (entry & Compressed) != 0 ? ExtentKind.Compressed
        : (entry & Zero) != 0 ? ExtentKind.Zero
        : Offset(entry) != 0 ? ExtentKind.Data
        : ExtentKind.Unallocated;

    /// <summary>Where a compressed cluster's bytes begin, and an upper bound of how many they are: up to the end of the last sector.</summary>
    public static (long Offset, int Length) CompressedRange(ulong entry, int clusterBits)
    {
        int shift = 62 - (clusterBits - 8);
        long offset = (long)(entry & ((1ul << shift) - 1));
        int sectors = (int)((entry >> shift) & ((1ul << (clusterBits - 8)) - 1)) + 1;
        return (offset, (sectors * DiskImage.SectorSize) - (int)(offset & (DiskImage.SectorSize - 1)));
    }

    public static ulong MakeCompressed(long offset, int length, int clusterBits)
    {
        long sectors = ((offset + length - 1) / DiskImage.SectorSize) - (offset / DiskImage.SectorSize);
        return Compressed | (ulong)offset | (ulong)sectors << (62 - (clusterBits - 8));
    }
}
