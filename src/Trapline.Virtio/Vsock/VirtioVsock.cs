using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Vsock;

/// <summary>State of a socket device. Its connections end with the process; the guest of a machine that goes on is told so.</summary>
[SavedState("virtio-vsock", 1)]
public sealed record VirtioVsockState(ulong Cid);

/// <summary>The socket device (virtio 1.2, 5.10): streams between the guest's ports and Unix sockets of the host (<see cref="VsockHost"/>).</summary>
/// <remarks>One worker does everything; sockets only tell it that they can go on. Packets to the guest that find no buffer wait as a mark on their
/// connection; resets for no connection wait in a list, and while that is full nothing is taken from the guest.</remarks>
public sealed class VirtioVsock : VirtioDevice, ISavedDevice<VirtioVsockState>
{
    /// <summary>The host's context identifier (5.10.4).</summary>
    public const ulong HostCid = 2;

    private const int ReceiveQueue = 0, TransmitQueue = 1, EventQueue = 2;
    private const ulong ReceiveBit = 1, TransmitBit = 2;
    private const ushort QueueSize = 128;
    private const int MostConnections = 256, MostResets = 64, MostBytesAtOnce = 64 << 10;
    private const uint FirstHostPort = 1u << 30;

    private readonly Dictionary<(uint Guest, uint Host), VsockConnection> _connections = new(MostConnections);
    private readonly List<VsockConnection> _order = new(MostConnections);
    private readonly VsockHeader[] _resets = new VsockHeader[MostResets];
    private readonly VsockHost? _host;
    private readonly DescriptorChain _chain;
    private ulong _cid;
    private uint _nextHostPort = FirstHostPort;
    private int _resetCount;
    private bool _transportResetDue;

    /// <param name="cid">The guest's context identifier, from 3.</param>
    /// <param name="path">The host's socket; null for none: the guest reaches nobody.</param>
    /// <exception cref="BadInputException">The socket cannot be made.</exception>
    public VirtioVsock(GuestMemory memory, ulong cid, string? path)
        : base("virtio-vsock", VirtioTypes.Socket, memory, [QueueSize, QueueSize, QueueSize])
    {
        _cid = cid;
        _chain = new DescriptorChain(memory, QueueSize);
        _host = path is null ? null : new VsockHost(path, () => Wake(ReceiveBit));
    }

    protected override ulong DeviceFeatures => 0;

    public override void ReadConfig(int offset, Span<byte> destination)
    {
        Span<byte> config = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(config, _cid);
        for (int i = 0; i < destination.Length; i++)
            destination[i] = offset + i < config.Length ? config[offset + i] : (byte)0;
    }

    protected override void OnReset()
    {
        foreach (VsockConnection connection in _order)
            connection.Dispose();
        _order.Clear();
        _connections.Clear();
        (_resetCount, _transportResetDue) = (0, false);
    }

    protected override void Serve(int worker, ulong queues)
    {
        if (_transportResetDue && Queues[EventQueue].TryPop(_chain))
        {
            ChainCursor writer = _chain.Writer;
            Queues[EventQueue].Push(_chain, (uint)writer.Write([0, 0, 0, 0])); // VIRTIO_VSOCK_EVENT_TRANSPORT_RESET
            _transportResetDue = false;
        }
        AcceptAsking();
        TakePackets();
        SendPackets();
        // The list of resets had no room, and now has.
        if (_resetCount == 0 && Queues[TransmitQueue].HasMore)
            Wake(TransmitBit);
    }

    private void AcceptAsking()
    {
        while (_host is not null && _order.Count < MostConnections && _host.Asking.TryDequeue(out (System.Net.Sockets.Socket Socket, uint GuestPort) asking))
        {
            uint port = _nextHostPort++;
            _nextHostPort |= FirstHostPort;
            Add(new VsockConnection(asking.Socket, asking.GuestPort, port, Progress) { HostAsked = true, Due = VsockOperation.Request });
        }
    }

    private void Progress() => Wake(ReceiveBit);

    private void Add(VsockConnection connection)
    {
        if (_connections.TryAdd((connection.GuestPort, connection.HostPort), connection))
            _order.Add(connection);
        else
            connection.Dispose();
    }

    private void Remove(VsockConnection connection)
    {
        _connections.Remove((connection.GuestPort, connection.HostPort));
        _order.Remove(connection);
        connection.Dispose();
    }

    private void TakePackets()
    {
        Span<byte> head = stackalloc byte[VsockHeader.Size];
        while (_resetCount < MostResets && Queues[TransmitQueue].TryPop(_chain))
        {
            ChainCursor reader = _chain.Reader;
            if (reader.Read(head) == head.Length)
                Handle(MemoryMarshal.Read<VsockHeader>(head), ref reader);
            Queues[TransmitQueue].Push(_chain, 0);
        }
    }

    private void Handle(VsockHeader packet, ref ChainCursor data)
    {
        if (packet.SourceCid != _cid || packet.DestinationCid != HostCid || packet.Type != VsockHeader.Stream)
        {
            Refuse(packet);
            return;
        }
        if (!_connections.TryGetValue((packet.SourcePort, packet.DestinationPort), out VsockConnection? connection))
        {
            if (packet.Operation != VsockOperation.Request || !TryOpen(packet))
                Refuse(packet);
            return;
        }
        (connection.PeerBuffer, connection.PeerForwarded) = (packet.BufferBytes, packet.Forwarded);
        switch (packet.Operation)
        {
            case VsockOperation.Response when connection is { HostAsked: true, Established: false }:
                connection.Established = true;
                connection.Greet(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"OK {connection.HostPort}\n")));
                connection.Flush();
                break;
            case VsockOperation.Data when connection.Established && !connection.GuestSendsNoMore:
                if (!TryTake(connection, packet.Length, ref data))
                    End(connection, packet);
                break;
            case VsockOperation.CreditRequest:
                connection.CreditDue = true;
                break;
            case VsockOperation.CreditUpdate:
                break;
            case VsockOperation.Shutdown:
                connection.GuestReceivesNoMore |= (packet.Flags & VsockHeader.NoReceive) != 0;
                connection.GuestSendsNoMore |= (packet.Flags & VsockHeader.NoSend) != 0;
                break;
            case VsockOperation.Reset:
                Remove(connection);
                break;
            default:
                End(connection, packet);
                break;
        }
    }

    private bool TryOpen(VsockHeader packet)
    {
        if (_order.Count >= MostConnections || _host?.TryConnect(packet.DestinationPort) is not { } socket)
            return false;
        Add(new VsockConnection(socket, packet.SourcePort, packet.DestinationPort, Progress)
        {
            Established = true,
            Due = VsockOperation.Response,
            PeerBuffer = packet.BufferBytes,
            PeerForwarded = packet.Forwarded,
        });
        return true;
    }

    private static bool TryTake(VsockConnection connection, uint length, ref ChainCursor data)
    {
        if (length > data.Remaining)
            return false;
        for (uint left = length; left > 0;)
        {
            ReadOnlySpan<byte> part = data.NextToRead((int)Math.Min(left, VsockConnection.BufferBytes));
            if (part.IsEmpty || !connection.TryQueue(part))
                return false; // more than its credit
            left -= (uint)part.Length;
        }
        connection.Flush();
        return true;
    }

    private void End(VsockConnection connection, VsockHeader packet)
    {
        Remove(connection);
        Refuse(packet);
    }

    /// <summary>A reset for what no connection is there for; never for a reset.</summary>
    private void Refuse(VsockHeader packet)
    {
        if (packet.Operation != VsockOperation.Reset && _resetCount < MostResets)
        {
            _resets[_resetCount++] = new VsockHeader(
                HostCid, packet.SourceCid, packet.DestinationPort, packet.SourcePort, 0, VsockHeader.Stream, VsockOperation.Reset, 0, 0, 0);
        }
    }

    private void SendPackets()
    {
        int sent = 0;
        while (sent < _resetCount && TrySend(_resets[sent]))
            sent++;
        _resetCount -= sent;
        Array.Copy(_resets, sent, _resets, 0, _resetCount);
        for (int i = _order.Count - 1; i >= 0; i--)
            Advance(_order[i]);
    }

    /// <summary>Does for one connection what can be done now.</summary>
    private void Advance(VsockConnection connection)
    {
        if (connection.Due != VsockOperation.Invalid && TrySend(Packet(connection, connection.Due)))
            connection.Due = VsockOperation.Invalid;
        if (connection.Due != VsockOperation.Invalid)
            return;
        connection.Flush();
        bool isOver = connection.HasFailed || (connection.GuestSendsNoMore && connection.GuestReceivesNoMore && connection.Unsent == 0);
        if (isOver)
        {
            if (TrySend(Packet(connection, VsockOperation.Reset)))
                Remove(connection);
            return;
        }
        if (connection.GuestSendsNoMore && connection.Unsent == 0)
            Shut(connection);
        // The guest runs dry at half of its credit.
        if (connection.Established && connection.Forwarded - connection.ForwardedTold >= VsockConnection.BufferBytes / 2)
            connection.CreditDue = true;
        if (connection.CreditDue && TrySend(Packet(connection, VsockOperation.CreditUpdate)))
            connection.CreditDue = false;
        if (connection is { Established: true, HostClosed: false, GuestReceivesNoMore: false })
            Forward(connection);
    }

    private static void Shut(VsockConnection connection)
    {
        try
        {
            connection.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
        }
        catch (System.Net.Sockets.SocketException)
        {
            // Gone already; reading will say so.
        }
    }

    /// <summary>What the host's program wrote goes straight into the guest's buffers, as far as its credit goes.</summary>
    private void Forward(VsockConnection connection)
    {
        Span<byte> probe = stackalloc byte[1]; // a look first, so that no buffer is taken for nothing
        for (int done = 0; done < MostBytesAtOnce && connection.PeerRoom > 0;)
        {
            if (!Queues[ReceiveQueue].HasMore && !Queues[ReceiveQueue].WantNotification())
                return;
            int first = connection.Receive(probe, System.Net.Sockets.SocketFlags.Peek);
            if (first < 0)
                return;
            if (first == 0)
            {
                connection.HostClosed = TrySend(Packet(connection, VsockOperation.Shutdown) with { Flags = VsockHeader.NoSend });
                return;
            }
            int length = SendData(connection);
            if (length == 0)
                return;
            done += length;
        }
        if (connection.PeerRoom > 0)
            Wake(ReceiveBit); // others first
    }

    private int SendData(VsockConnection connection)
    {
        if (!Queues[ReceiveQueue].TryPop(_chain))
            return 0;
        ChainCursor writer = _chain.Writer;
        if (!writer.Skip(VsockHeader.Size))
        {
            Break(); // 5.10.6.4.1: buffers have room for a packet's head
            return 0;
        }
        uint room = Math.Min(connection.PeerRoom, MostBytesAtOnce);
        uint length = 0;
        while (length < room)
        {
            Span<byte> part = writer.NextToWrite((int)(room - length));
            int read = part.IsEmpty ? 0 : connection.Receive(part);
            if (read <= 0)
                break;
            length += (uint)read;
            if (read < part.Length)
                break;
        }
        connection.SentToGuest += length;
        Write(Packet(connection, VsockOperation.Data) with { Length = length });
        Queues[ReceiveQueue].Push(_chain, VsockHeader.Size + length);
        return (int)length;
    }

    private VsockHeader Packet(VsockConnection connection, VsockOperation operation)
    {
        connection.ForwardedTold = connection.Forwarded;
        return new VsockHeader(HostCid, _cid, connection.HostPort, connection.GuestPort, 0, VsockHeader.Stream, operation, 0, VsockConnection.BufferBytes, connection.Forwarded);
    }

    private bool TrySend(VsockHeader packet)
    {
        if (!Queues[ReceiveQueue].TryPop(_chain))
            return false;
        Write(packet);
        Queues[ReceiveQueue].Push(_chain, VsockHeader.Size);
        return true;
    }

    private void Write(VsockHeader packet)
    {
        Span<byte> bytes = stackalloc byte[VsockHeader.Size];
        MemoryMarshal.Write(bytes, packet);
        ChainCursor writer = _chain.Writer;
        writer.Write(bytes);
    }

    VirtioVsockState ISavedDevice<VirtioVsockState>.Save() => new(_cid);

    void ISavedDevice<VirtioVsockState>.Restore(VirtioVsockState state)
    {
        _cid = state.Cid;
        _transportResetDue = true;
    }

    public override void Dispose()
    {
        base.Dispose();
        OnReset();
        _host?.Dispose();
        GC.SuppressFinalize(this);
    }
}
