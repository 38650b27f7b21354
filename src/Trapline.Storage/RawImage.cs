using Trapline.Core;
using Trapline.Storage.Files;

namespace Trapline.Storage;

/// <summary>A disk byte for byte in a file, which may be sparse, or on a block device.</summary>
/// <remarks>A file whose length is no multiple of 512 is taken for one that goes on with zeroes to the next.</remarks>
public sealed class RawImage : DiskImage
{
    private const int ZeroBlock = 1 << 16;
    private static readonly byte[] Zeroes = new byte[ZeroBlock];

    private readonly IImageFile _file;
    private long _length;

    internal RawImage(IImageFile file, ImageOptions options)
        : base(options)
    {
        _file = file;
        _length = Up(file.Length);
    }

    public override ImageFormat Format => ImageFormat.Raw;

    public override long Length => Volatile.Read(ref _length);

    public override int OptimalBlockSize => 4096;

    public override Extent ExtentAt(long offset)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)offset, (ulong)Length, nameof(offset));
        (bool stored, long end) = _file.StoredAt(offset);
        long length = Math.Min(end, Length) - offset;
        return stored ? new Extent(ExtentKind.Data, length, offset) : new Extent(ExtentKind.Zero, length, offset);
    }

    public override void Resize(long length)
    {
        if (length <= 0 || length % SectorSize != 0)
            throw new BadInputException($"'{Path}' cannot have {length} bytes: give a multiple of {SectorSize}");
        _file.SetLength(length);
        Volatile.Write(ref _length, length);
    }

    public override void Dispose() => _file.Dispose();

    private protected override void ReadCore(long offset, Span<byte> destination) => _file.Read(offset, destination);

    private protected override void WriteCore(long offset, ReadOnlySpan<byte> source) => _file.Write(offset, source);

    private protected override void ReadCore(long offset, IScatteredMemory memory, long from, long length) => _file.Read(offset, memory, from, length);

    private protected override void WriteCore(long offset, IScatteredMemory memory, long from, long length) => _file.Write(offset, memory, from, length);

    private protected override void FlushCore() => _file.Flush();

    private protected override void DiscardCore(long offset, long length) => _file.TryZero(offset, length, unmap: true);

    private protected override void WriteZeroesCore(long offset, long length, bool unmap)
    {
        if (_file.TryZero(offset, length, unmap))
            return;
        for (long done = 0; done < length; done += ZeroBlock)
            _file.Write(offset + done, Zeroes.AsSpan(0, (int)Math.Min(ZeroBlock, length - done)));
    }

    private static long Up(long length) => (length + SectorSize - 1) & -SectorSize;
}
