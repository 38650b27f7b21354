using Microsoft.Win32.SafeHandles;
using Trapline.Host;

namespace Trapline.Memory;

/// <summary>
/// Frozen content of guest memory, in a part of a file that several memories map privately, but for a few pages that lie beside it. Counted: each user
/// disposes its own share.
/// </summary>
public sealed class MemoryTemplate : IDisposable
{
    private readonly Content _content;
    private readonly IReadOnlyList<(ulong Start, byte[] Bytes)> _changes;
    private bool _disposed;

    private sealed class Content(SafeFileHandle file, bool isAnonymous)
    {
        public SafeFileHandle File => file;
        public bool IsAnonymous => isAnonymous;
        public int Users = 1;
    }

    /// <param name="file">Closed with the last share.</param>
    /// <param name="offset">Where in the file; page aligned.</param>
    /// <param name="length">Bytes; a multiple of 4,096.</param>
    /// <param name="isAnonymous">Nobody else has the file, so that it may be written as long as there is one share.</param>
    public MemoryTemplate(SafeFileHandle file, ulong offset, ulong length, bool isAnonymous)
        : this(new Content(file, isAnonymous), offset, length, [])
    {
    }

    private MemoryTemplate(Content content, ulong offset, ulong length, IReadOnlyList<(ulong Start, byte[] Bytes)> changes) =>
        (_content, Offset, Length, _changes) = (content, offset, length, changes);

    public ulong Offset { get; }

    public ulong Length { get; }

    /// <summary>The file, open as long as this share; its content is not all (<see cref="Read"/>).</summary>
    public SafeFileHandle File => _content.File;

    internal bool IsAnonymous => _content.IsAnonymous;

    /// <summary>There are more shares than this one.</summary>
    internal bool IsShared => Volatile.Read(ref _content.Users) > 1;

    /// <summary>Where the content differs from the file's.</summary>
    internal IReadOnlyList<(ulong Start, byte[] Bytes)> Changes => _changes;

    /// <summary>The ranges of the content that are stored, in order of their starts; the rest is zero.</summary>
    public IEnumerable<(ulong Start, ulong Length)> StoredRanges =>
        AnonymousFile.StoredRanges(File, Offset, Length).Select(range => (Start: range.Start - Offset, range.Length))
            .Concat(_changes.Select(change => (change.Start, Length: (ulong)change.Bytes.Length))).OrderBy(range => range.Start);

    /// <summary>Reads content, without touching anybody's mapping of it.</summary>
    /// <exception cref="EndOfStreamException">The file ends before.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public void Read(ulong start, Span<byte> content)
    {
        FileContent.ReadExactly(File, content, Offset + start);
        ulong end = start + (ulong)content.Length;
        foreach ((ulong at, byte[] bytes) in _changes)
        {
            ulong from = Math.Max(at, start), to = Math.Min(at + (ulong)bytes.Length, end);
            if (from < to)
                bytes.AsSpan((int)(from - at), (int)(to - from)).CopyTo(content[(int)(from - start)..]);
        }
    }

    /// <summary>One more share of the same content.</summary>
    public MemoryTemplate Share() => Share(_changes);

    /// <summary>One more share of the file, with other changes to it.</summary>
    internal MemoryTemplate Share(IReadOnlyList<(ulong Start, byte[] Bytes)> changes)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        Interlocked.Increment(ref _content.Users);
        return new MemoryTemplate(_content, Offset, Length, changes);
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        if (Interlocked.Decrement(ref _content.Users) == 0)
            File.Dispose();
    }

    internal void Write(ulong start, ReadOnlySpan<byte> content) => RandomAccess.Write(File, content, (long)(Offset + start));
}
