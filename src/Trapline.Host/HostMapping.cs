using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A lazily committed host mapping: what guest RAM lives in.</summary>
/// <remarks>
/// Unsafe because it hands out the raw base. The mapping lives until <see cref="Dispose"/>; owners hold it as long as any vCPU can run.
/// What it maps can be replaced while its address stays, so that pointers into it stay good.
/// </remarks>
public sealed unsafe class HostMapping : IDisposable
{
    private byte* _base;

    private HostMapping(byte* start, ulong length)
    {
        _base = start;
        Length = length;
    }

    /// <summary>Bytes mapped; a multiple of the host page size.</summary>
    public ulong Length { get; }

    public byte* Base => _base;

    /// <summary>Maps private zeroed memory that is committed when touched.</summary>
    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public static HostMapping CreatePrivate(ulong length)
    {
        byte* place = HostPages.Reserve(length);
        return (nint)place != -1
            ? new HostMapping(Map(place, length, Libc.MapPrivate | Libc.MapAnonymous | Libc.MapFixed, null, 0), length)
            : throw new Win32Exception(Marshal.GetLastPInvokeError());
    }

    /// <summary>
    /// From an offset on, private memory comes in huge pages where the host has them (madvise(2), MADV_HUGEPAGE): for what is used densely. One fault of the
    /// host then commits 2 MiB, and its own TLB reaches 512 times as far.
    /// </summary>
    public void PreferHugePages(ulong from = 0) => HostPages.PreferHuge(_base + from, Length - from);

    /// <summary>Maps a part of a file privately: pages come in when touched and are copied when written; the file never changes.</summary>
    /// <param name="file">Stays the caller's, who may close it.</param>
    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public static HostMapping CreateCopyOnWrite(SafeFileHandle file, ulong offset, ulong length) => new(Map(null, length, Libc.MapPrivate, file, offset), length);

    /// <summary>
    /// Maps a part of a file privately at the same address in place of what is there. Nobody may access the mapping meanwhile. What was written
    /// to a private mapping before is gone.
    /// </summary>
    /// <exception cref="Win32Exception">The host refused; what was mapped is there still.</exception>
    public void ReplaceByCopyOnWrite(SafeFileHandle file, ulong offset) => Map(_base, Length, Libc.MapPrivate | Libc.MapFixed, file, offset);

    /// <summary>Gives pages back to the host. They read as zero afterwards, or as the file that is mapped (madvise(2), MADV_DONTNEED).</summary>
    /// <returns>False if the host refused.</returns>
    public bool TryRelease(ulong offset, ulong length) =>
        offset <= Length && length <= Length - offset && Libc.Madvise(_base + offset, length, Libc.MadvDontNeed) == 0;

    public void Dispose()
    {
        if (_base == null)
            return;
        Libc.Munmap(_base, Length);
        _base = null;
    }

    private static byte* Map(byte* at, ulong length, int flags, SafeFileHandle? file, ulong offset)
    {
        bool held = false;
        try
        {
            file?.DangerousAddRef(ref held);
            int descriptor = file is null ? -1 : (int)file.DangerousGetHandle();
            byte* start = Libc.Mmap(at, length, Libc.ProtRead | Libc.ProtWrite, flags | Libc.MapNoReserve, descriptor, (long)offset);
            return (nint)start != -1 ? start : throw new Win32Exception(Marshal.GetLastPInvokeError());
        }
        finally
        {
            if (held)
                file!.DangerousRelease();
        }
    }
}
