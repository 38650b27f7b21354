using System.Runtime.InteropServices;
using Trapline.Host;

namespace Trapline.Storage.Files;

/// <summary>An image in a file of the host that was opened past its page cache (open(2), O_DIRECT).</summary>
/// <remarks>
/// Requests that are aligned in the file and in memory go straight through, many at a time. Others go through one aligned buffer, alone: writing part of a
/// block means reading it first, and nobody may write the rest of it meanwhile.
/// </remarks>
internal sealed class DirectImageFile : IImageFile
{
    private const int Alignment = 4096;
    private const int BounceLength = 1 << 18;

    private readonly HostFile _file;
    private readonly ReaderWriterLockSlim _passage = new();
    private readonly byte[] _storage = GC.AllocateUninitializedArray<byte>(BounceLength + Alignment, pinned: true);
    private readonly Memory<byte> _bounce;

    public DirectImageFile(HostFile file)
    {
        _file = file;
        int skip = (int)(-Marshal.UnsafeAddrOfPinnedArrayElement(_storage, 0) & (Alignment - 1));
        _bounce = _storage.AsMemory(skip, BounceLength);
    }

    public long Length => _file.Length;

    public void Read(long offset, Span<byte> destination)
    {
        if (IsAligned(offset, destination))
        {
            _passage.EnterReadLock();
            try
            {
                destination[_file.Read(offset, destination)..].Clear();
            }
            finally
            {
                _passage.ExitReadLock();
            }
            return;
        }
        _passage.EnterWriteLock();
        try
        {
            while (!destination.IsEmpty)
            {
                (long start, int skip, int part) = Window(offset, destination.Length);
                Load(start, AlignUp(skip + part)).Slice(skip, part).CopyTo(destination);
                destination = destination[part..];
                offset += part;
            }
        }
        finally
        {
            _passage.ExitWriteLock();
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        if (IsAligned(offset, source))
        {
            _passage.EnterReadLock();
            try
            {
                _file.Write(offset, source);
            }
            finally
            {
                _passage.ExitReadLock();
            }
            return;
        }
        _passage.EnterWriteLock();
        try
        {
            long length = Math.Max(_file.Length, offset + source.Length);
            while (!source.IsEmpty)
            {
                (long start, int skip, int part) = Window(offset, source.Length);
                Span<byte> block = Load(start, AlignUp(skip + part));
                source[..part].CopyTo(block[skip..]);
                _file.Write(start, block);
                source = source[part..];
                offset += part;
            }
            if (_file.Length > length)
                _file.SetLength(length);
        }
        finally
        {
            _passage.ExitWriteLock();
        }
    }

    public void Flush() => _file.Flush();

    public void SetLength(long length) => _file.SetLength(length);

    public bool TryZero(long offset, long length, bool unmap)
    {
        _passage.EnterWriteLock();
        try
        {
            return (!unmap && _file.ZeroRange(offset, length)) || _file.PunchHole(offset, length);
        }
        finally
        {
            _passage.ExitWriteLock();
        }
    }

    public (bool Stored, long End) StoredAt(long offset)
    {
        long end = _file.Length;
        if (offset >= end)
            return (false, long.MaxValue);
        long data = _file.FindData(offset);
        return data > offset ? (false, data >= end ? long.MaxValue : data) : (true, _file.FindHole(offset));
    }

    public void Dispose()
    {
        _file.Dispose();
        _passage.Dispose();
    }

    private static bool IsAligned(long offset, ReadOnlySpan<byte> memory) => HostFile.IsAligned(memory, Alignment) && (offset & (Alignment - 1)) == 0;

    private static int AlignUp(int length) => (length + Alignment - 1) & -Alignment;

    /// <summary>The aligned start of what the buffer takes of a request, where in the buffer it begins, and how much of it that is.</summary>
    private static (long Start, int Skip, int Part) Window(long offset, int wanted)
    {
        int skip = (int)(offset & (Alignment - 1));
        return (offset - skip, skip, Math.Min(wanted, BounceLength - skip));
    }

    private Span<byte> Load(long start, int length)
    {
        Span<byte> block = _bounce.Span[..length];
        block[_file.Read(start, block)..].Clear();
        return block;
    }
}
