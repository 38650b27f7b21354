using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Trapline.Core;

namespace Trapline.Host;

/// <summary>A file or block device read and written at offsets, with what .NET leaves out: holes, zeroing, data-only flushes, direct I/O.</summary>
/// <remarks>Any number of threads may use it at once.</remarks>
public sealed class HostFile : IDisposable
{
    private const int SeekEnd = 2, SeekData = 3, SeekHole = 4;
    private const int NoSuchAddress = 6;

    /// <summary>Parts of memory in one system call: a request of virtio's has no more, and the host takes up to 1,024.</summary>
    private const int MostParts = 256;

    private readonly SafeFileHandle _handle;
    private readonly int _descriptor;

    private HostFile(int descriptor)
    {
        _descriptor = descriptor;
        _handle = new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <param name="path">A file or a block device.</param>
    /// <param name="writable">Else for reading only.</param>
    /// <param name="direct">Past the host's page cache (O_DIRECT): offsets, lengths and addresses must then be aligned.</param>
    /// <exception cref="IOException">The host refused; the message is its reason alone.</exception>
    public static HostFile Open(string path, bool writable, bool direct = false) =>
        Open(path, (writable ? Libc.OpenReadWrite : Libc.OpenReadOnly) | (direct ? Libc.OpenDirect : 0));

    /// <summary>An empty file, readable by all as the umask allows; what was there loses its content.</summary>
    /// <exception cref="IOException">The host refused; the message is its reason alone.</exception>
    public static HostFile Create(string path) => Open(path, Libc.OpenReadWrite | Libc.OpenCreate);

    private static HostFile Open(string path, int flags)
    {
        int descriptor = Libc.Open(path, flags | Libc.OpenCloseOnExec, 0x1B6); // rw-rw-rw-, less the umask
        if (descriptor < 0)
            throw Failure();
        HostFile file = new(descriptor);
        if (Libc.Lseek(descriptor, 0, SeekEnd) >= 0 && !file._handle.IsInvalid)
            return file;
        IOException failure = Failure();
        file.Dispose();
        throw failure;
    }

    /// <summary>Bytes, of a block device too.</summary>
    public long Length => Libc.Lseek(_descriptor, 0, SeekEnd) is >= 0 and long end ? end : throw Failure();

    public void SetLength(long length)
    {
        if (Libc.Ftruncate(_descriptor, length) != 0)
            throw Failure();
    }

    /// <summary>Reads what is there; returns less than asked for only at the end of the file.</summary>
    public int Read(long offset, Span<byte> destination)
    {
        int done = 0;
        while (done < destination.Length)
        {
            int got = RandomAccess.Read(_handle, destination[done..], offset + done);
            if (got == 0)
                break;
            done += got;
        }
        return done;
    }

    public void Write(long offset, ReadOnlySpan<byte> source) => RandomAccess.Write(_handle, source, offset);

    /// <summary>Reads into a range of scattered memory; bytes past the end of the file read as zeroes.</summary>
    public void Read(long offset, IScatteredMemory memory, long from, long length) => Transfer(offset, memory, from, length, writing: false);

    /// <summary>Writes a range of scattered memory.</summary>
    public void Write(long offset, IScatteredMemory memory, long from, long length) => Transfer(offset, memory, from, length, writing: true);

    /// <summary>As few system calls as there are full lists of parts.</summary>
    private unsafe void Transfer(long offset, IScatteredMemory memory, long from, long length, bool writing)
    {
        Libc.MemoryPart* parts = stackalloc Libc.MemoryPart[MostParts];
        while (length > 0)
        {
            int count = 0;
            long wanted = 0;
            foreach (Span<byte> part in new ScatteredRange(memory, from, length))
            {
                // Not in the managed heap (IScatteredMemory): the address stays good without pinning.
                fixed (byte* address = part)
                    parts[count++] = new Libc.MemoryPart { Address = (nint)address, Length = part.Length };
                wanted += part.Length;
                if (count == MostParts)
                    break;
            }
            nint done = writing ? Libc.Pwritev(_descriptor, parts, count, offset) : Libc.Preadv(_descriptor, parts, count, offset);
            if (done < 0 && Marshal.GetLastPInvokeError() == Libc.Interrupted)
                continue;
            if (done < 0)
                throw Failure();
            if (done == 0)
            {
                if (writing)
                    throw new IOException("nothing more can be written");
                foreach (Span<byte> part in new ScatteredRange(memory, from, length))
                    part.Clear();
                return;
            }
            (offset, from, length) = (offset + done, from + done, length - done);
        }
    }

    /// <summary>What was written is on stable storage, with the metadata that reading it takes (fdatasync(2)).</summary>
    public void Flush()
    {
        if (Libc.Fdatasync(_descriptor) != 0)
            throw Failure();
    }

    /// <summary>Gives a range's space back; it reads as zeroes. False if the file cannot do that.</summary>
    public bool PunchHole(long offset, long length) => Allocate(Libc.PunchHole | Libc.KeepSize, offset, length);

    /// <summary>Makes a range read as zeroes and keeps its space. False if the file cannot do that.</summary>
    public bool ZeroRange(long offset, long length) => Allocate(Libc.ZeroRange | Libc.KeepSize, offset, length);

    /// <summary>Takes the space for a range now. False if the file cannot do that.</summary>
    public bool Preallocate(long offset, long length) => Allocate(0, offset, length);

    /// <summary>Where stored bytes begin at or behind an offset; the file's end if there are none (lseek(2)).</summary>
    public long FindData(long offset) => Seek(offset, SeekData, Length);

    /// <summary>Where a hole, or the end of the file, begins at or behind an offset.</summary>
    public long FindHole(long offset) => Seek(offset, SeekHole, Length);

    /// <summary>Takes or tests byte locks on the open file; they end when it is closed (fcntl(2), open file description locks).</summary>
    /// <returns>False if somebody else holds a lock there that excludes this one.</returns>
    public unsafe bool TryLockShared(long at)
    {
        Libc.RecordLock record = new() { Type = Libc.ReadLock, Start = at, Length = 1 };
        return Libc.Fcntl(_descriptor, Libc.SetDescriptionLock, &record) == 0;
    }

    /// <summary>Somebody else holds a lock of any kind on this byte.</summary>
    public unsafe bool IsLockedElsewhere(long at)
    {
        Libc.RecordLock record = new() { Type = Libc.WriteLock, Start = at, Length = 1 };
        return Libc.Fcntl(_descriptor, Libc.GetDescriptionLock, &record) == 0 && record.Type != Libc.Unlock;
    }

    /// <summary>Memory that direct I/O takes as it is: its address and its length are multiples of the alignment.</summary>
    public static unsafe bool IsAligned(ReadOnlySpan<byte> memory, int alignment)
    {
        // Only the address is looked at, never followed, so it may be stale by then.
        fixed (byte* address = memory)
            return (((nint)address | memory.Length) & (alignment - 1)) == 0;
    }

    public void Dispose()
    {
        // Explicitly: a child that was just forked has the same open file for the moment until it runs its program, and would keep the locks.
        if (!_handle.IsClosed)
            Unlock();
        _handle.Dispose();
    }

    private unsafe void Unlock()
    {
        Libc.RecordLock all = new() { Type = Libc.Unlock };
        Libc.Fcntl(_descriptor, Libc.SetDescriptionLock, &all);
    }

    private bool Allocate(int mode, long offset, long length)
    {
        if (Libc.Fallocate(_descriptor, mode, offset, length) == 0)
            return true;
        return Marshal.GetLastPInvokeError() is Libc.InvalidArgument or Libc.NoSystemCall or Libc.NotSupported ? false : throw Failure();
    }

    private long Seek(long offset, int whence, long end)
    {
        if (offset >= end)
            return end;
        long found = Libc.Lseek(_descriptor, offset, whence);
        if (found >= 0)
            return found;
        // A file without holes to tell of (a device, some file systems) is data from end to end.
        return Marshal.GetLastPInvokeError() switch
        {
            NoSuchAddress => end,
            Libc.InvalidArgument => whence == SeekData ? offset : end,
            _ => throw Failure(),
        };
    }

    private static IOException Failure() => new(new Win32Exception(Marshal.GetLastPInvokeError()).Message.ToLowerInvariant());
}
