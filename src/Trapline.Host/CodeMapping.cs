using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>Memory for emitted machine code, mapped twice: written through one view, executed through the other, never both at once (W^X).</summary>
/// <remarks>Unsafe because it hands out raw pointers. The mappings live until <see cref="Dispose"/>: nothing may run in them any more.</remarks>
public sealed unsafe class CodeMapping : IDisposable
{
    private byte* _writable;
    private byte* _executable;

    private CodeMapping(byte* writable, byte* executable, ulong length)
    {
        _writable = writable;
        _executable = executable;
        Length = length;
    }

    public ulong Length { get; }
    public byte* Writable => _writable;
    public byte* Executable => _executable;

    /// <summary>Shared memory without a file: Linux perf takes its names from a map only for that.</summary>
    /// <exception cref="Win32Exception">The host refused the memory, or executable mappings altogether.</exception>
    public static CodeMapping Create(ulong length)
    {
        byte* writable = HostPages.Reserve(length);
        if ((nint)writable == -1)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        byte* executable = HostPages.Reserve(length);
        // An old length of 0 makes a second view of a shared mapping (mremap(2)).
        bool made = (nint)executable != -1
            && (nint)Libc.Mmap(writable, length, Libc.ProtRead | Libc.ProtWrite, Libc.MapShared | Libc.MapAnonymous | Libc.MapNoReserve | Libc.MapFixed, -1, 0) != -1
            && (nint)Libc.Mremap(writable, 0, length, Libc.MremapMayMove | Libc.MremapFixed, executable) != -1
            && Libc.Mprotect(executable, length, Libc.ProtRead | Libc.ProtExec) == 0;
        if (made)
            return new CodeMapping(writable, executable, length);
        int error = Marshal.GetLastPInvokeError();
        Libc.Munmap(writable, length);
        if ((nint)executable != -1)
            Libc.Munmap(executable, length);
        throw new Win32Exception(error);
    }

    /// <summary>
    /// Makes one huge page, in both views, of the memory from a multiple of <see cref="HostPages.HugePage"/> on: emitting into it costs no faults then, and
    /// running from it few misses of the host's TLB.
    /// </summary>
    public void MakeHuge(ulong offset)
    {
        byte* page = _writable + offset;
        Volatile.Write(ref *page, *page); // only what is there can become huge
        HostPages.MakeHuge(page, HostPages.HugePage);
    }

    public void Dispose()
    {
        if (_writable == null)
            return;
        Libc.Munmap(_writable, Length);
        Libc.Munmap(_executable, Length);
        _writable = _executable = null;
    }
}
