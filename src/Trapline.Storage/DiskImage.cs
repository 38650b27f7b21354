using Trapline.Core;

namespace Trapline.Storage;

/// <summary>A disk's content in a file, in one of the formats.</summary>
/// <remarks>Any number of threads may read and write at once; the management calls of the formats (resize, snapshots) may come at any time, too.</remarks>
public abstract class DiskImage : IDiskBackend
{
    internal const int SectorSize = 512;

    private readonly bool _unmap;
    private readonly CacheMode _cache;

    private protected DiskImage(ImageOptions options)
    {
        (IsReadOnly, _unmap, _cache) = (options.ReadOnly, options.Unmap, options.Cache);
        Path = options.Path;
    }

    /// <summary>Opens an image and what it is based on.</summary>
    /// <exception cref="BadInputException">It cannot be opened; the message names the file and says why.</exception>
    public static DiskImage Open(DiskSpecification disk)
    {
        DiskImage image = ImageOpener.Open(disk);
        if (image.Length > 0)
            return image;
        image.Dispose();
        throw new BadInputException($"'{disk.Path}' is empty: a disk has at least {SectorSize} bytes");
    }

    /// <summary>As the user named it.</summary>
    public string Path { get; }

    public abstract ImageFormat Format { get; }

    public abstract long Length { get; }

    public bool IsReadOnly { get; }

    public abstract int OptimalBlockSize { get; }

    /// <summary>What this image is based on; null if it stands alone.</summary>
    public virtual DiskImage? Backing => null;

    public void Read(long offset, Span<byte> destination)
    {
        CheckRange(offset, destination.Length);
        if (!destination.IsEmpty)
            ReadCore(offset, destination);
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        CheckWrite(offset, source.Length);
        if (source.IsEmpty)
            return;
        WriteCore(offset, source);
        FlushThrough();
    }

    public void Read(long offset, IScatteredMemory memory, long from, long length)
    {
        CheckRange(offset, length);
        ReadCore(offset, memory, from, length);
    }

    public void Write(long offset, IScatteredMemory memory, long from, long length)
    {
        CheckWrite(offset, length);
        if (length == 0)
            return;
        WriteCore(offset, memory, from, length);
        FlushThrough();
    }

    public void Flush()
    {
        if (!IsReadOnly && _cache != CacheMode.Unsafe)
            FlushCore();
    }

    public void Discard(long offset, long length)
    {
        CheckWrite(offset, length);
        if (!_unmap || length == 0)
            return;
        DiscardCore(offset, length);
        FlushThrough();
    }

    public void WriteZeroes(long offset, long length, bool mayUnmap)
    {
        CheckWrite(offset, length);
        if (length == 0)
            return;
        WriteZeroesCore(offset, length, mayUnmap && _unmap);
        FlushThrough();
    }

    /// <summary>What lies at an offset in this image alone, and how far that goes.</summary>
    public abstract Extent ExtentAt(long offset);

    /// <summary>Makes the disk longer, with zeroes, or shorter.</summary>
    /// <param name="length">Bytes; a multiple of 512.</param>
    /// <exception cref="BadInputException">The image cannot have that length.</exception>
    public abstract void Resize(long length);

    public abstract void Dispose();

    /// <summary>Space that is freed is given back to the host.</summary>
    private protected bool Unmaps => _unmap;

    private protected abstract void ReadCore(long offset, Span<byte> destination);

    private protected abstract void WriteCore(long offset, ReadOnlySpan<byte> source);

    private protected abstract void ReadCore(long offset, IScatteredMemory memory, long from, long length);

    private protected abstract void WriteCore(long offset, IScatteredMemory memory, long from, long length);

    private protected abstract void FlushCore();

    private protected abstract void DiscardCore(long offset, long length);

    private protected abstract void WriteZeroesCore(long offset, long length, bool unmap);

    private void FlushThrough()
    {
        if (_cache == CacheMode.Writethrough)
            FlushCore();
    }

    private void CheckRange(long offset, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Length - length, nameof(length));
    }

    private void CheckWrite(long offset, long length)
    {
        CheckRange(offset, length);
        if (IsReadOnly)
            throw new IOException($"'{Path}' is open for reading only");
    }
}
