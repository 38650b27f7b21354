namespace Trapline.Host;

/// <summary>Advice to the host about memory that is about to be filled: huge pages cost far less than a fault for each small one.</summary>
/// <remarks>Advice changes no content. A host that does not know it declines, and the faults come one by one.</remarks>
public static unsafe class HostPages
{
    public const ulong HugePage = 2 << 20;

    /// <summary>Asks for huge pages where the memory lies (madvise(2), MADV_HUGEPAGE). Before it is touched.</summary>
    public static void PreferHuge(Span<byte> memory)
    {
        // Whole pages around the range: neighbours may be huge as well as not, and a collector that moves an array meanwhile harms nobody.
        fixed (byte* start = memory)
        {
            if ((ulong)memory.Length >= HugePage)
                PreferHuge(start, (ulong)memory.Length);
        }
    }

    /// <summary>
    /// Makes huge pages of what is used of a range already, at once and whatever the host's settings are (madvise(2), MADV_COLLAPSE, Linux 6.1): for what
    /// began small and turns out to be used densely. Its parts below <see cref="HugePage"/> at either end stay as they are.
    /// </summary>
    public static void MakeHuge(byte* start, ulong length)
    {
        ulong first = ((ulong)start + HugePage - 1) & ~(HugePage - 1), behind = ((ulong)start + length) & ~(HugePage - 1);
        // Page by page: one that cannot be does not keep the others from it.
        for (ulong at = first; at < behind; at += HugePage)
            _ = Libc.Madvise((void*)at, HugePage, Libc.MadvCollapse);
    }

    /// <summary>Reserves addresses at a multiple of <see cref="HugePage"/>, for a mapping to be put there (MAP_FIXED).</summary>
    /// <returns>-1, as mmap(2) gives it, if the host refused.</returns>
    internal static byte* Reserve(ulong length, int flags = 0)
    {
        const int Flags = Libc.MapPrivate | Libc.MapAnonymous | Libc.MapNoReserve;
        ulong slack = length < HugePage ? 0 : HugePage;
        byte* start = Libc.Mmap(null, length + slack, Libc.ProtNone, Flags | flags, -1, 0);
        if ((nint)start == -1 || slack == 0)
            return start;
        byte* aligned = (byte*)(((ulong)start + HugePage - 1) & ~(HugePage - 1));
        ulong before = (ulong)(aligned - start);
        if (before != 0)
            Libc.Munmap(start, before);
        if (before != slack)
            Libc.Munmap(aligned + length, slack - before);
        return aligned;
    }

    internal static void PreferHuge(byte* start, ulong length)
    {
        ulong page = (ulong)Environment.SystemPageSize;
        ulong first = (ulong)start & ~(page - 1), behind = ((ulong)start + length + page - 1) & ~(page - 1);
        _ = Libc.Madvise((void*)first, behind - first, Libc.MadvHugePage);
    }
}
