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
    private SafeFileHandle? _file;
    private bool _isShared;

    private HostMapping(byte* start, ulong length, SafeFileHandle? file)
    {
        _base = start;
        Length = length;
        _file = file;
        _isShared = file is not null;
    }

    /// <summary>Bytes mapped; a multiple of the host page size.</summary>
    public ulong Length { get; }

    public byte* Base => _base;

    /// <summary>Maps <paramref name="length"/> bytes of a new anonymous file (memfd) that read as zero and are committed when touched.</summary>
    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public static HostMapping CreateShared(string name, ulong length)
    {
        SafeFileHandle file = AnonymousFile.Create(name, length);
        try
        {
            return new HostMapping(Map(null, length, Libc.MapShared, file, 0), length, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Maps private zeroed memory that is committed when touched.</summary>
    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public static HostMapping CreatePrivate(ulong length) => new(Map(null, length, Libc.MapPrivate | Libc.MapAnonymous, null, 0), length, null);

    /// <summary>Maps a part of a file privately: pages come in when touched and are copied when written; the file never changes.</summary>
    /// <param name="file">Stays the caller's, who may close it.</param>
    /// <exception cref="Win32Exception">The host refused the memory.</exception>
    public static HostMapping CreateCopyOnWrite(SafeFileHandle file, ulong offset, ulong length) => new(Map(null, length, Libc.MapPrivate, file, offset), length, null);

    /// <summary>Hands over the anonymous file of a shared mapping; the mapping shares its pages still.</summary>
    public SafeFileHandle TakeFile()
    {
        SafeFileHandle file = _file ?? throw new InvalidOperationException("the mapping has no file of its own");
        _file = null;
        return file;
    }

    /// <summary>
    /// Maps a part of a file privately at the same address in place of what is there. Nobody may access the mapping meanwhile. What was written
    /// to a private mapping before is gone.
    /// </summary>
    /// <exception cref="Win32Exception">The host refused; what was mapped is there still.</exception>
    public void ReplaceByCopyOnWrite(SafeFileHandle file, ulong offset)
    {
        Map(_base, Length, Libc.MapPrivate | Libc.MapFixed, file, offset);
        _isShared = false;
    }

    /// <summary>
    /// Gives pages back to the host. Shared pages read as zero afterwards, those of a private mapping as what is mapped (madvise(2), MADV_REMOVE and
    /// MADV_DONTNEED).
    /// </summary>
    /// <returns>False if the host refused.</returns>
    public bool TryRelease(ulong offset, ulong length) =>
        offset <= Length && length <= Length - offset && Libc.Madvise(_base + offset, length, _isShared ? Libc.MadvRemove : Libc.MadvDontNeed) == 0;

    public void Dispose()
    {
        if (_base == null)
            return;
        Libc.Munmap(_base, Length);
        _base = null;
        _file?.Dispose();
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
