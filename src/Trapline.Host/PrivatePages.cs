using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>Which pages of a private file mapping were written, and so are no longer the file's (Linux, Documentation/admin-guide/mm/pagemap.rst).</summary>
/// <remarks>Unsafe only for the mapping's address, which is not followed.</remarks>
public static unsafe class PrivatePages
{
    private const int PageShift = 12;
    private const ulong Present = 1ul << 63, Swapped = 1ul << 62, OfFile = 1ul << 61;

    /// <summary>Ranges of bytes, from the mapping's start, that this process has copies of.</summary>
    /// <exception cref="IOException">The host does not tell.</exception>
    public static List<(ulong Start, ulong Length)> Find(byte* start, ulong length)
    {
        List<(ulong Start, ulong Length)> ranges = [];
        using SafeFileHandle pagemap = File.OpenHandle("/proc/self/pagemap");
        ulong[] entries = new ulong[Math.Min(length >> PageShift, 1 << 16)];
        ulong pages = length >> PageShift;
        for (ulong page = 0; page < pages;)
        {
            Span<ulong> wanted = entries.AsSpan(0, (int)Math.Min(pages - page, (ulong)entries.Length));
            int read = RandomAccess.Read(pagemap, MemoryMarshal.AsBytes(wanted), (long)((((ulong)start >> PageShift) + page) * sizeof(ulong))) / sizeof(ulong);
            if (read == 0)
                throw new IOException("the host does not tell which pages were written");
            foreach (ulong entry in wanted[..read])
            {
                if ((entry & (Present | Swapped)) != 0 && (entry & OfFile) == 0)
                    Add(ranges, page << PageShift);
                page++;
            }
        }
        return ranges;
    }

    private static void Add(List<(ulong Start, ulong Length)> ranges, ulong page)
    {
        if (ranges is [.., { } last] && last.Start + last.Length == page)
            ranges[^1] = (last.Start, last.Length + (1ul << PageShift));
        else
            ranges.Add((page, 1ul << PageShift));
    }
}
