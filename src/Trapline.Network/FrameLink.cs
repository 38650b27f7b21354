using System.Buffers.Binary;
using Trapline.Host;

namespace Trapline.Network;

/// <summary>Takes one record that has come in.</summary>
/// <returns>False if there is no room for it now: it is offered again after <see cref="FrameLink.Retry"/>.</returns>
internal delegate bool RecordHandler(ReadOnlySpan<byte> record);

/// <summary>Records over a stream socket, each behind its length (32 bits, big endian): frames as QEMU and passt exchange them.</summary>
/// <remarks>
/// One thread receives, many records with one call, and hands them out where they lie. While the handler has no room nothing is received, so that the
/// sender waits. Senders wait a moment for room, and lose the record if there is none: whoever does not read must not hold up a device.
/// </remarks>
internal sealed class FrameLink : IDisposable
{
    public const int Prefix = 4;

    /// <summary>The longest record. Each side of a link that sends a longer one has lost its way.</summary>
    public const int LongestRecord = 65_535 + 64;

    /// <summary>For the kernel: some of the longest records in each direction.</summary>
    public const int SocketBytes = 1 << 20;

    private const int ReceiveBytes = 1 << 18, PatienceMilliseconds = 50;
    private const long RetryNanoseconds = 1_000_000_000;

    private readonly StreamSocket _socket;
    private readonly Action _lost;
    private readonly Lock _sending = new();
    private readonly HostEvent _room = new();
    private readonly byte[] _rest = new byte[Prefix + LongestRecord];
    private int _restStart, _restEnd;
    private Thread? _receiver;
    private volatile bool _ended;

    /// <param name="socket">Becomes this object's own.</param>
    /// <param name="lost">Called once, on the receiving thread, if the other side ends the link.</param>
    public FrameLink(StreamSocket socket, Action lost) => (_socket, _lost) = (socket, lost);

    /// <summary>Begins to receive. Once only.</summary>
    public void Start(string threadName, RecordHandler handler)
    {
        _receiver = new Thread(() => Receive(handler)) { Name = threadName, IsBackground = true };
        _receiver.Start();
    }

    /// <summary>Before <see cref="Start"/>: waits until something has come in; false if nothing does in this time, or the other side is gone.</summary>
    public bool WaitForData(int milliseconds) => _socket.WaitForData(milliseconds);

    /// <summary>The handler has room again.</summary>
    public void Retry() => _room.Set();

    /// <param name="head">Begins with <see cref="Prefix"/> bytes for the length, which is written here.</param>
    /// <returns>False if the record was dropped.</returns>
    public bool Send(Span<byte> head, ReadOnlySpan<byte> body)
    {
        int length = head.Length - Prefix + body.Length;
        if (length > LongestRecord)
            return false;
        BinaryPrimitives.WriteInt32BigEndian(head, length);
        lock (_sending)
        {
            if (_ended || !SendRest())
                return false;
            int sent = SendSome(head, body);
            if (sent <= 0)
                return false;
            KeepRest(head, body, sent);
            SendRest();
            return true;
        }
    }

    public void Dispose()
    {
        _ended = true;
        _socket.Shutdown();
        _room.Set();
        _receiver?.Join();
        _socket.Dispose();
    }

    private int SendSome(ReadOnlySpan<byte> head, ReadOnlySpan<byte> body)
    {
        int sent = _socket.Send(head, body);
        if (sent == 0 && _socket.WaitForRoom(PatienceMilliseconds))
            sent = _socket.Send(head, body);
        return sent;
    }

    /// <summary>A record that has begun must be finished before the next one.</summary>
    private bool SendRest()
    {
        while (_restStart < _restEnd)
        {
            int sent = SendSome(_rest.AsSpan(_restStart.._restEnd), default);
            if (sent <= 0)
                return false;
            _restStart += sent;
        }
        return true;
    }

    private void KeepRest(ReadOnlySpan<byte> head, ReadOnlySpan<byte> body, int sent)
    {
        (_restStart, _restEnd) = (0, head.Length + body.Length - sent);
        if (_restEnd == 0)
            return;
        int ofHead = Math.Max(head.Length - sent, 0);
        head[(head.Length - ofHead)..].CopyTo(_rest);
        body[Math.Max(sent - head.Length, 0)..].CopyTo(_rest.AsSpan(ofHead));
    }

    private void Receive(RecordHandler handler)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(ReceiveBytes, pinned: true);
        int start = 0, end = 0;
        while (true)
        {
            if (buffer.Length - start < Prefix + LongestRecord)
            {
                buffer.AsSpan(start..end).CopyTo(buffer);
                (start, end) = (0, end - start);
            }
            int count = _socket.Receive(buffer.AsSpan(end));
            if (count == 0)
                break;
            end += count;
            if (!HandOut(handler, buffer, ref start, end))
                break;
            if (start == end)
                start = end = 0;
        }
        if (_ended)
            return;
        _ended = true;
        _lost();
    }

    /// <summary>Hands out the whole records that are there.</summary>
    /// <returns>False if this is no record's beginning, or the link is being closed.</returns>
    private bool HandOut(RecordHandler handler, byte[] buffer, ref int start, int end)
    {
        while (end - start >= Prefix)
        {
            uint length = BinaryPrimitives.ReadUInt32BigEndian(buffer.AsSpan(start));
            if (length > LongestRecord)
                return false;
            if (end - start - Prefix < (int)length)
                break;
            while (!handler(buffer.AsSpan(start + Prefix, (int)length)))
            {
                _room.WaitUntil(HostTime.Nanoseconds + RetryNanoseconds);
                if (_ended)
                    return false;
            }
            start += Prefix + (int)length;
        }
        return true;
    }
}
