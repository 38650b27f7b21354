using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Trapline.Core;

namespace Trapline.Host;

/// <summary>A regular file in a <see cref="ConfinedFolder"/>, opened.</summary>
/// <remarks>
/// Methods return 0 or one of <see cref="LinuxError"/>, allocate nothing, and throw only if the file is closed meanwhile. From any thread.
/// Unsafe for the calls alone: each gets addresses of locals, or of guest memory that does not move (<see cref="IScatteredMemory"/>).
/// </remarks>
public sealed unsafe class ConfinedFile : IDisposable
{
    /// <summary>Parts of memory in one system call; the host takes up to 1,024.</summary>
    private const int MostParts = 256;

    private const int KnownAllocations = Libc.KeepSize | Libc.PunchHole | Libc.ZeroRange;
    private const int SeekData = 3, SeekHole = 4;

    private readonly SafeFileHandle _handle;
    private readonly bool _readOnly;

    internal ConfinedFile(int descriptor, bool readOnly) => (_handle, _readOnly) = (new SafeFileHandle(descriptor, ownsHandle: true), readOnly);

    /// <summary>Reads into a range of scattered memory.</summary>
    /// <param name="done">Bytes read: fewer than asked for only at the end of the file.</param>
    public int Read(long offset, IScatteredMemory memory, long from, long length, out long done) => Transfer(offset, memory, from, length, writing: false, append: false, out done);

    /// <summary>Writes a range of scattered memory.</summary>
    /// <param name="append">At the end of the file, wherever that is by now.</param>
    public int Write(long offset, IScatteredMemory memory, long from, long length, bool append, out long done) => Transfer(offset, memory, from, length, writing: true, append, out done);

    private int Transfer(long offset, IScatteredMemory memory, long from, long length, bool writing, bool append, out long done)
    {
        done = 0;
        Libc.MemoryPart* parts = stackalloc Libc.MemoryPart[MostParts];
        while (done < length)
        {
            int count = 0;
            foreach (Span<byte> part in new ScatteredRange(memory, from + done, length - done))
            {
                // Not in the managed heap (IScatteredMemory): the address stays good without pinning.
                fixed (byte* address = part)
                    parts[count++] = new Libc.MemoryPart { Address = (nint)address, Length = part.Length };
                if (count == MostParts)
                    break;
            }
            nint moved = writing ? Libc.Pwritev2(_handle, parts, count, offset + done, append ? Libc.WriteAppend : 0) : Libc.Preadv(_handle, parts, count, offset + done);
            if (moved == 0)
                return LinuxError.None;
            if (moved > 0)
                done += moved;
            else if (LastError != LinuxError.Interrupted)
                return done > 0 ? LinuxError.None : LastError;
        }
        return LinuxError.None;
    }

    /// <summary>What was written is on stable storage.</summary>
    /// <param name="dataOnly">With no more metadata than reading it takes.</param>
    public int Flush(bool dataOnly) => Result(dataOnly ? Libc.Fdatasync(_handle) : Libc.Fsync(_handle));

    /// <summary>What closing a descriptor of the file says: some file systems tell only then that a write failed.</summary>
    public int TryClose()
    {
        int copy = Libc.Dup(_handle);
        return copy < 0 ? LastError : Result(Libc.Close(copy));
    }

    /// <param name="mode">0, or bits of fallocate(2): keep the length, punch a hole, fill with zeroes.</param>
    public int Allocate(int mode, long offset, long length) => (mode & ~KnownAllocations) != 0 ? LinuxError.NotSupported
        : _readOnly ? LinuxError.ReadOnly : Result(Libc.Fallocate(_handle, mode, offset, length));

    /// <summary>Where data or a hole begins (lseek(2)).</summary>
    /// <param name="whence">3 for data, 4 for a hole.</param>
    public int Seek(long offset, int whence, out long found)
    {
        found = whence is SeekData or SeekHole ? Libc.Lseek(_handle, offset, whence) : -1;
        return found >= 0 ? LinuxError.None : whence is SeekData or SeekHole ? LastError : LinuxError.InvalidArgument;
    }

    public int Describe(out FileFacts facts)
    {
        Libc.FileStatus status;
        int result;
        fixed (byte* empty = "\0"u8)
            result = Libc.Statx(_handle, empty, Libc.AtEmptyPath, Libc.StatusFields, &status);
        facts = result == 0 ? status.Facts : default;
        return Result(result);
    }

    public int Change(in FileChanges changes, out FileFacts facts)
    {
        facts = default;
        if (_readOnly)
            return LinuxError.ReadOnly;
        int error = Describe(out facts);
        if (error == LinuxError.None && changes.Length is { } length)
            error = Result(Libc.Ftruncate(_handle, length));
        if (error != LinuxError.None)
            return error;
        bool held = false;
        try
        {
            _handle.DangerousAddRef(ref held);
            return ConfinedFolder.ChangeOpen((int)_handle.DangerousGetHandle(), changes, ref facts);
        }
        finally
        {
            if (held)
                _handle.DangerousRelease();
        }
    }

    /// <summary>Closes it when no call is under way any more.</summary>
    public void Dispose() => _handle.Dispose();

    private static int LastError => Marshal.GetLastPInvokeError();

    private static int Result(int result) => result < 0 ? LastError : LinuxError.None;
}
