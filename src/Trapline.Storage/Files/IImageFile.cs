using Trapline.Core;

namespace Trapline.Storage.Files;

/// <summary>What a format stores its image in: bytes at offsets. A file of the host, or in tests a disk that loses power.</summary>
/// <remarks>Any number of threads may use it at once. Every operation may throw <see cref="IOException"/>.</remarks>
internal interface IImageFile : IDisposable
{
    long Length { get; }

    /// <summary>Bytes past the end read as zeroes.</summary>
    void Read(long offset, Span<byte> destination);

    /// <summary>Extends the file if it ends before.</summary>
    void Write(long offset, ReadOnlySpan<byte> source);

    /// <summary>Reads into a range of scattered memory; bytes past the end read as zeroes.</summary>
    void Read(long offset, IScatteredMemory memory, long from, long length)
    {
        foreach (Span<byte> part in new ScatteredRange(memory, from, length))
        {
            Read(offset, part);
            offset += part.Length;
        }
    }

    /// <summary>Writes a range of scattered memory; extends the file if it ends before.</summary>
    void Write(long offset, IScatteredMemory memory, long from, long length)
    {
        foreach (Span<byte> part in new ScatteredRange(memory, from, length))
        {
            Write(offset, part);
            offset += part.Length;
        }
    }

    /// <summary>What was written before is on stable storage.</summary>
    void Flush();

    void SetLength(long length);

    /// <summary>Makes a range read as zeroes, within the file; true if the file could, without writing them.</summary>
    /// <param name="unmap">Its space is given back, else kept.</param>
    bool TryZero(long offset, long length, bool unmap);

    /// <summary>Whether a byte is stored or in a hole, and where that ends; at or past the end of the file, a hole without end.</summary>
    (bool Stored, long End) StoredAt(long offset);
}
