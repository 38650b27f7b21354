namespace Trapline.Host;

/// <summary>Advice to the host about memory that is about to be filled: huge pages cost far less than a fault for each small one.</summary>
/// <remarks>Advice changes no content. A host that does not know it declines, and the faults come one by one.</remarks>
public static unsafe class HostPages
{
    private const ulong HugePage = 2 << 20;

    /// <summary>Asks for huge pages where the memory lies (madvise(2), MADV_HUGEPAGE). Before it is touched.</summary>
    public static void PreferHuge(Span<byte> memory)
    {
        // Whole pages around the range: neighbours may be huge as well as not, and a collector that moves an array meanwhile harms nobody.
        fixed (byte* start = memory)
        {
            if ((ulong)memory.Length >= HugePage)
                Advise(start, start + memory.Length, Libc.MadvHugePage);
        }
    }

    private static void Advise(byte* start, byte* end, int advice)
    {
        ulong page = (ulong)Environment.SystemPageSize;
        ulong first = (ulong)start & ~(page - 1), behind = ((ulong)end + page - 1) & ~(page - 1);
        _ = Libc.Madvise((void*)first, behind - first, advice);
    }
}
