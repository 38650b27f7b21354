using System.Net.Sockets;

namespace Trapline.Virtio.Vsock;

/// <summary>A stream between a port in the guest and a Unix socket on the host. The device's worker alone uses it, but for the socket's completions.</summary>
/// <remarks>What the guest sends waits in <see cref="BufferBytes"/> of memory until the socket takes it; the guest's credit keeps it from sending more (5.10.6.3).</remarks>
internal sealed class VsockConnection : IDisposable
{
    /// <summary>What the guest may have on its way to the host.</summary>
    public const int BufferBytes = 64 << 10;

    // Room for our own first line beside the guest's credit.
    private const int GreetingBytes = 64, Capacity = BufferBytes + GreetingBytes;

    private readonly byte[] _toHost = new byte[Capacity];
    private readonly SocketAsyncEventArgs _readable = new(), _sent = new();
    private readonly Action _progress;
    private int _first, _count, _sending, _receiving, _notTheGuests;
    private volatile bool _isSent, _failed;

    public VsockConnection(Socket socket, uint guestPort, uint hostPort, Action progress)
    {
        (Socket, GuestPort, HostPort, _progress) = (socket, guestPort, hostPort, progress);
        socket.Blocking = false;
        // Zero bytes: completes when there is something to read, which then goes straight into the guest's buffers.
        _readable.SetBuffer(Memory<byte>.Empty);
        _readable.Completed += (_, _) =>
        {
            Volatile.Write(ref _receiving, 0);
            _progress();
        };
        _sent.Completed += (_, e) =>
        {
            Note(e);
            _progress();
        };
    }

    public Socket Socket { get; }
    public uint GuestPort { get; }
    public uint HostPort { get; }

    /// <summary>The host began it, and its "OK" line is due when the guest answers.</summary>
    public bool HostAsked { get; init; }

    public bool Established { get; set; }

    /// <summary>Packets that wait for a buffer of the guest's.</summary>
    public VsockOperation Due { get; set; }

    public bool CreditDue { get; set; }

    /// <summary>The guest's side: how much it takes, and how much of what it got it has used.</summary>
    public uint PeerBuffer { get; set; }
    public uint PeerForwarded { get; set; }

    /// <summary>Bytes sent to the guest, and bytes of the guest's that the socket has taken; both count round.</summary>
    public uint SentToGuest { get; set; }
    public uint Forwarded { get; private set; }

    /// <summary>What the guest was last told of <see cref="Forwarded"/>.</summary>
    public uint ForwardedTold { get; set; }

    public bool GuestSendsNoMore { get; set; }
    public bool GuestReceivesNoMore { get; set; }

    /// <summary>The host's program sends no more, and the guest was told.</summary>
    public bool HostClosed { get; set; }

    public bool HasFailed => _failed;

    /// <summary>Bytes that the guest would take now.</summary>
    public uint PeerRoom => PeerBuffer - Math.Min(SentToGuest - PeerForwarded, PeerBuffer);

    public int Unsent => _count;

    /// <summary>Puts a word of ours before all that the guest sends: it does not count as the guest's.</summary>
    public void Greet(ReadOnlySpan<byte> line)
    {
        TryQueue(line);
        _notTheGuests = line.Length;
    }

    /// <summary>Takes what the guest sent; false if it sent more than it was allowed.</summary>
    public bool TryQueue(ReadOnlySpan<byte> data)
    {
        if (data.Length > Capacity - _count)
            return false;
        int at = (_first + _count) % Capacity, head = Math.Min(data.Length, Capacity - at);
        data[..head].CopyTo(_toHost.AsSpan(at));
        data[head..].CopyTo(_toHost);
        _count += data.Length;
        return true;
    }

    /// <summary>Hands to the socket what waits, as far as it takes it without waiting; the rest follows when it can.</summary>
    public void Flush()
    {
        while (!_failed)
        {
            if (_sending != 0)
            {
                if (!_isSent)
                    return;
                Took(_sending == -1 ? 0 : _sending);
            }
            if (_count == 0)
                return;
            int length = Math.Min(_count, Capacity - _first);
            _sent.SetBuffer(_toHost, _first, length);
            _sending = -1;
            _isSent = false;
            try
            {
                if (Socket.SendAsync(_sent))
                    return;
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                _failed = true;
                return;
            }
            Note(_sent);
        }
    }

    private void Note(SocketAsyncEventArgs e)
    {
        // The count first: whoever sees that it is sent takes it.
        _sending = e.BytesTransferred == 0 ? -1 : e.BytesTransferred;
        _failed |= e.SocketError != SocketError.Success;
        _isSent = true;
    }

    private void Took(int length)
    {
        _first = (_first + length) % Capacity;
        _count -= length;
        int ours = Math.Min(length, _notTheGuests);
        _notTheGuests -= ours;
        Forwarded += (uint)(length - ours);
        _sending = 0;
    }

    /// <summary>Reads without waiting: 0 if the host's program closed its side, -1 if there is nothing now; <see cref="HasFailed"/> otherwise.</summary>
    public int Receive(Span<byte> destination, SocketFlags flags = SocketFlags.None)
    {
        if (Volatile.Read(ref _receiving) != 0)
            return -1;
        try
        {
            int read = Socket.Receive(destination, flags, out SocketError error);
            if (error == SocketError.Success)
                return read;
            if (error == SocketError.WouldBlock)
            {
                Volatile.Write(ref _receiving, 1);
                if (!Socket.ReceiveAsync(_readable))
                {
                    Volatile.Write(ref _receiving, 0);
                    _progress();
                }
                return -1;
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
        }
        _failed = true;
        return -1;
    }

    public void Dispose()
    {
        Socket.Dispose();
        _readable.Dispose();
        _sent.Dispose();
    }
}
