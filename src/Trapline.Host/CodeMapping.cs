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

    /// <exception cref="Win32Exception">The host refused the memory, or executable mappings altogether.</exception>
    public static CodeMapping Create(ulong length)
    {
        int fd = Libc.MemfdCreate("trapline-code", Libc.MfdCloexec);
        if (fd < 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        try
        {
            if (Libc.Ftruncate(fd, (long)length) != 0)
                throw new Win32Exception(Marshal.GetLastPInvokeError());
            byte* writable = Libc.Mmap(null, length, Libc.ProtRead | Libc.ProtWrite, Libc.MapShared | Libc.MapNoReserve, fd, 0);
            if ((nint)writable == -1)
                throw new Win32Exception(Marshal.GetLastPInvokeError());
            byte* executable = Libc.Mmap(null, length, Libc.ProtRead | Libc.ProtExec, Libc.MapShared | Libc.MapNoReserve, fd, 0);
            if ((nint)executable == -1)
            {
                int error = Marshal.GetLastPInvokeError();
                Libc.Munmap(writable, length);
                throw new Win32Exception(error);
            }
            return new CodeMapping(writable, executable, length);
        }
        finally
        {
            Libc.Close(fd); // the mappings keep the file alive
        }
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
