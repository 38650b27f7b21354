using Microsoft.Win32.SafeHandles;
using Trapline.Host;

namespace Trapline.Memory;

/// <summary>Frozen content of guest memory, in a part of a file that several memories map privately. Counted: each user disposes its own share.</summary>
public sealed class MemoryTemplate : IDisposable
{
    private readonly Content _content;
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
        : this(new Content(file, isAnonymous), offset, length)
    {
    }

    private MemoryTemplate(Content content, ulong offset, ulong length) => (_content, Offset, Length) = (content, offset, length);

    public ulong Offset { get; }

    public ulong Length { get; }

    /// <summary>The file; it is open as long as this share.</summary>
    public SafeFileHandle File => _content.File;

    internal bool IsAnonymous => _content.IsAnonymous;

    /// <summary>There are more shares than this one.</summary>
    internal bool IsShared => Volatile.Read(ref _content.Users) > 1;

    /// <summary>The ranges of the content that are stored, from its start; the rest is zero.</summary>
    public IEnumerable<(ulong Start, ulong Length)> StoredRanges =>
        AnonymousFile.StoredRanges(File, Offset, Length).Select(range => (range.Start - Offset, range.Length));

    /// <summary>One more share of the same content.</summary>
    public MemoryTemplate Share()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        Interlocked.Increment(ref _content.Users);
        return new MemoryTemplate(_content, Offset, Length);
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
