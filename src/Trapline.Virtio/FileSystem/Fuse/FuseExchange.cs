using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.FileSystem.Fuse;

/// <summary>One request and its reply, in a chain of guest memory; made once for each worker.</summary>
/// <remarks>Arguments are copied once and judged in the copy: the guest may change its memory meanwhile. Data that is read or written stays where it is.</remarks>
internal sealed class FuseExchange(GuestMemory memory, int queueSize)
{
    /// <summary>Longest path that the kernel takes, with the zero that ends it.</summary>
    public const int LongestPath = 4096;

    // The longest request without data is a symbolic link's: a name and what it says.
    private const int MostArguments = 2 * LongestPath;

    private readonly byte[] _arguments = new byte[MostArguments];
    private readonly byte[] _path = new byte[LongestPath];
    private readonly byte[] _otherPath = new byte[LongestPath];
    private readonly byte[] _scratch = new byte[LongestPath * 4];
    private int _argumentLength, _taken;
    private ulong _written;

    public DescriptorChain Chain { get; } = new(memory, queueSize);

    public FuseRequestHeader Header { get; private set; }

    /// <summary>Rooms for two paths, and for what the host lists or a link says.</summary>
    public Span<byte> Path => _path;

    /// <inheritdoc cref="Path"/>
    public Span<byte> OtherPath => _otherPath;

    /// <inheritdoc cref="Path"/>
    public Span<byte> Scratch => _scratch;

    /// <summary>Room for a reply's content, in bytes.</summary>
    public ulong Room => Chain.WritableLength > FuseReplyHeader.Size ? Chain.WritableLength - FuseReplyHeader.Size : 0;

    /// <summary>There are as many bytes as the request says.</summary>
    public bool HasItsLength { get; private set; }

    /// <summary>Reads the request's head and arguments; false if there is no head.</summary>
    public bool TryBegin()
    {
        (_taken, _written) = (0, 0);
        Span<byte> head = stackalloc byte[FuseRequestHeader.Size];
        ChainCursor reader = Chain.Reader;
        if (reader.Read(head) != head.Length)
            return false;
        Header = MemoryMarshal.Read<FuseRequestHeader>(head);
        HasItsLength = Header.Length >= FuseRequestHeader.Size && Header.Length <= Chain.ReadableLength;
        _argumentLength = HasItsLength ? reader.Read(_arguments.AsSpan(0, (int)Math.Min(Header.Length - FuseRequestHeader.Size, MostArguments))) : 0;
        return true;
    }

    /// <summary>The next argument; false if the request is too short for it.</summary>
    public bool TryTake<T>(out T argument) where T : unmanaged
    {
        int size = Unsafe.SizeOf<T>();
        argument = default;
        if (_argumentLength - _taken < size)
            return false;
        argument = MemoryMarshal.Read<T>(_arguments.AsSpan(_taken));
        _taken += size;
        return true;
    }

    /// <summary>The next argument, a text with the zero that ends it; false if none does.</summary>
    public bool TryTakeText(out ReadOnlySpan<byte> text)
    {
        ReadOnlySpan<byte> rest = _arguments.AsSpan(_taken, _argumentLength - _taken);
        int end = rest.IndexOf((byte)0);
        text = rest[..(end + 1)];
        _taken += text.Length;
        return end >= 0;
    }

    /// <summary>Adds to the reply's content; false if there is no room for it.</summary>
    public bool Answer<T>(in T content) where T : unmanaged => Answer(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in content)));

    /// <inheritdoc cref="Answer{T}"/>
    public bool Answer(ReadOnlySpan<byte> content)
    {
        ChainCursor writer = Chain.Writer;
        if (Room - _written < (ulong)content.Length || !writer.Skip(FuseReplyHeader.Size + _written))
            return false;
        _written += (ulong)writer.Write(content);
        return true;
    }

    /// <summary>The reply's content was put into the chain's writable parts, behind the head's place.</summary>
    public void AnswerInPlace(ulong length) => _written = length;

    /// <summary>Writes the reply's head; there is room for one.</summary>
    /// <param name="error">0, or an error number, with which there is no content.</param>
    /// <returns>Bytes written.</returns>
    public uint End(int error)
    {
        if (error != 0)
            _written = 0;
        FuseReplyHeader head = new((uint)(FuseReplyHeader.Size + _written), -error, Header.Unique);
        ChainCursor writer = Chain.Writer;
        writer.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<FuseReplyHeader>(in head)));
        return head.Length;
    }
}
