using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Network;

/// <summary>State of a network card.</summary>
/// <param name="Offloads">What the driver lets frames that it receives have undone: its feature bits.</param>
/// <param name="Pairs">Pairs of queues in use.</param>
/// <param name="Announce">The driver has yet to say where the machine is.</param>
[SavedState("virtio-net", 1)]
public sealed record VirtioNetworkState(ReceiveFilterState Filter, ulong Offloads, int Pairs, bool Announce);

/// <summary>The network card (virtio 1.2, 5.1) over a network back end, which stays the caller's.</summary>
/// <remarks>
/// The device's one worker sends and does what the driver asks in the control queue. Frames for the guest are written by the back end's thread,
/// inside the gate, under the receive lock, which guards the filter too. It is taken before the register lock, never behind it: a reset or a start
/// finds nobody inside and needs it not.
/// </remarks>
public sealed class VirtioNetwork : VirtioDevice, INetworkSink, ISavedDevice<VirtioNetworkState>
{
    /// <summary>Most pairs of a receive and a transmit queue.</summary>
    public const int MostPairs = 8;

    private const ulong Checksum = 1ul << 0, GuestChecksum = 1ul << 1, ControlOffloads = 1ul << 2, MtuKnown = 1ul << 3, Address = 1ul << 5,
        GuestSegments4 = 1ul << 7, GuestSegments6 = 1ul << 8, HostSegments4 = 1ul << 11, HostSegments6 = 1ul << 12, MergeableBuffers = 1ul << 15,
        StatusKnown = 1ul << 16, ControlQueue = 1ul << 17, ControlReceive = 1ul << 18, ControlVlan = 1ul << 19, ControlReceiveMore = 1ul << 20,
        Announcement = 1ul << 21, MultiQueue = 1ul << 22, ControlAddress = 1ul << 23;

    private const ulong OffloadBits = GuestChecksum | GuestSegments4 | GuestSegments6;
    private const ulong NeedControlQueue = ControlOffloads | ControlReceive | ControlVlan | ControlReceiveMore | Announcement | MultiQueue | ControlAddress;
    private const ushort LinkUp = 1, AnnounceNow = 2;
    private const ushort QueueSize = 256;
    private const int ConfigLength = 12, LeastFrame = 14;

    private readonly INetworkBackend _backend;
    private readonly int _pairs;
    private readonly DescriptorChain _chain;
    private readonly FrameTransmitter _transmitter;
    private readonly FrameReceiver _receiver;
    private readonly ReceiveFilter _filter = new();
    private readonly FlowTable _flows = new();
    private readonly Lock _receiving = new();
    private MacAddress _address;
    private ulong _offloads;
    private long _sent, _received, _dropped;
    private volatile int _activePairs = 1;
    private volatile bool _linkUp = true, _announce, _refused;

    /// <param name="address">The card's own; its driver may choose another one.</param>
    /// <param name="queuePairs">Pairs of queues that the driver may use: one for each vCPU is best.</param>
    public VirtioNetwork(string name, GuestMemory memory, INetworkBackend backend, MacAddress address, int queuePairs)
        : base(name, VirtioTypes.Network, memory, Sizes(queuePairs))
    {
        (_backend, _address, _pairs) = (backend, address, queuePairs);
        _chain = new DescriptorChain(memory, QueueSize);
        _transmitter = new FrameTransmitter(backend);
        _receiver = new FrameReceiver(memory, QueueSize);
        _filter.Reset(address);
        backend.Connect(this);
    }

    /// <summary>A pair's receive and transmit queue after the other's, and the control queue (5.1.2).</summary>
    private static ushort[] Sizes(int pairs)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(pairs, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(pairs, MostPairs);
        return [.. Enumerable.Repeat(QueueSize, (2 * pairs) + 1)];
    }

    /// <inheritdoc/>
    public event Action? RoomAvailable;

    /// <summary>The address that the configuration space shows.</summary>
    public MacAddress CardAddress => _address;

    /// <summary>The address that the driver uses: another one, for a while, in a machine that is a copy.</summary>
    public MacAddress DriverAddress => _filter.Address;

    /// <summary>Frames that the back end took.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    /// <summary>Frames that the guest got.</summary>
    public long Received => Interlocked.Read(ref _received);

    /// <summary>Frames of either direction that were dropped. Those that the driver does not listen to do not count.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    protected override ulong DeviceFeatures => Checksum | GuestChecksum | ControlOffloads | MtuKnown | Address | GuestSegments4 | GuestSegments6
        | HostSegments4 | HostSegments6 | MergeableBuffers | StatusKnown | ControlQueue | ControlReceive | ControlVlan | ControlReceiveMore
        | Announcement | ControlAddress | (_pairs > 1 ? MultiQueue : 0);

    /// <summary>Bits that need others (5.1.3.1).</summary>
    protected override bool Accepts(ulong features) =>
        ((features & NeedControlQueue) == 0 || (features & ControlQueue) != 0)
        && ((features & (GuestSegments4 | GuestSegments6)) == 0 || (features & GuestChecksum) != 0)
        && ((features & (HostSegments4 | HostSegments6)) == 0 || (features & Checksum) != 0);

    private int HeaderLength => Has(VirtioFeatures.Version1 | MergeableBuffers) ? NetworkHeader.Length : NetworkHeader.ShortLength;

    /// <summary>Behind the last pair; behind the first for a driver that knows of no other (5.1.2).</summary>
    private int ControlIndex => Has(MultiQueue) ? 2 * _pairs : 2;

    /// <summary>The configuration space (5.1.4).</summary>
    public override void ReadConfig(int offset, Span<byte> destination)
    {
        Span<byte> config = stackalloc byte[ConfigLength];
        _address.Write(config);
        BinaryPrimitives.WriteUInt16LittleEndian(config[6..], (ushort)((_linkUp ? LinkUp : 0) | (_announce ? AnnounceNow : 0)));
        BinaryPrimitives.WriteUInt16LittleEndian(config[8..], (ushort)_pairs);
        BinaryPrimitives.WriteUInt16LittleEndian(config[10..], (ushort)Math.Clamp(_backend.Mtu, 68, ushort.MaxValue));
        for (int i = 0; i < destination.Length; i++)
            destination[i] = offset + i < ConfigLength ? config[offset + i] : (byte)0;
    }

    /// <summary>Legacy drivers may write the address, a byte at a time (5.1.4.3).</summary>
    public override void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        if (Has(VirtioFeatures.Version1))
            return;
        Span<byte> bytes = stackalloc byte[MacAddress.Length];
        _address.Write(bytes);
        for (int i = 0; i < source.Length && offset + i < bytes.Length; i++)
            bytes[offset + i] = source[i];
        _address = _filter.Address = MacAddress.Read(bytes);
    }

    protected override void OnStart()
    {
        _filter.ByVlan = Has(ControlVlan);
        _offloads = Features & OffloadBits;
    }

    protected override void OnReset()
    {
        _filter.Reset(_address);
        _offloads = 0;
        _flows.Clear();
        _activePairs = 1;
        _announce = false;
    }

    protected override void OnRun()
    {
        if (_announce)
            ConfigChanged();
    }

    protected override void Serve(int worker, ulong queues)
    {
        for (; queues != 0; queues &= queues - 1)
        {
            int queue = BitOperations.TrailingZeroCount(queues);
            if (queue == ControlIndex)
                Control(Queues[queue]);
            else if (queue % 2 != 0 && queue < 2 * _pairs)
                Transmit(Queues[queue], queue / 2);
        }
        if (!_refused)
            return;
        _refused = false;
        RoomAvailable?.Invoke();
    }

    private void Transmit(VirtQueue queue, int pair)
    {
        int headerLength = HeaderLength;
        FrameOffloads agreed = (Has(Checksum) ? FrameOffloads.Checksum : 0) | (Has(HostSegments4) ? FrameOffloads.TcpSegments4 : 0) | (Has(HostSegments6) ? FrameOffloads.TcpSegments6 : 0);
        NetworkHeader header = default;
        while (queue.TryPop(_chain))
        {
            ChainCursor reader = _chain.Reader;
            if (reader.Read(MemoryMarshal.AsBytes(new Span<NetworkHeader>(ref header))[..headerLength]) != headerLength)
            {
                Break(); // 5.1.6.2: the header comes first
                return;
            }
            bool sent = false;
            if (reader.Remaining <= FrameTransmitter.MostBytes && _linkUp)
            {
                int length = reader.Read(_transmitter.Frame);
                if (_activePairs > 1)
                    _flows.Sent(_transmitter.Frame.AsSpan(0, length), pair);
                sent = _transmitter.Send(length, header, agreed);
            }
            Interlocked.Increment(ref sent ? ref _sent : ref _dropped);
            queue.Push(_chain, 0);
        }
    }

    FrameOffloads INetworkSink.Accepts
    {
        get
        {
            ulong offloads = Volatile.Read(ref _offloads);
            return ((offloads & GuestChecksum) != 0 ? FrameOffloads.Checksum | FrameOffloads.ChecksumIsValid : 0)
                | ((offloads & GuestSegments4) != 0 ? FrameOffloads.TcpSegments4 : 0)
                | ((offloads & GuestSegments6) != 0 ? FrameOffloads.TcpSegments6 : 0);
        }
    }

    /// <inheritdoc/>
    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (TryReceive(frame, offload))
            return true;
        // Buffers that came in between were not told of; from here on they are.
        _refused = true;
        Interlocked.MemoryBarrier();
        return TryReceive(frame, offload);
    }

    /// <summary>False if the frame must wait: the machine stands, or there is no room.</summary>
    private bool TryReceive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (!TryEnter())
            return !HasDriver;
        try
        {
            lock (_receiving)
            {
                FrameOffloads wrong = offload.Undone & ~((INetworkSink)this).Accepts & ~FrameOffloads.ChecksumIsValid;
                Reception end = frame.Length < LeastFrame || wrong != 0 || !_linkUp ? Reception.TooLong
                    : !_filter.Passes(frame) ? Reception.Done
                    : Deliver(frame, offload);
                if (end == Reception.Broken)
                    Break();
                else if (end == Reception.TooLong)
                    Interlocked.Increment(ref _dropped);
                return end != Reception.NoRoom;
            }
        }
        finally
        {
            Leave();
        }
    }

    private Reception Deliver(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        NetworkHeader header = default;
        if ((offload.Undone & FrameOffloads.Checksum) != 0)
            (header.Flags, header.ChecksumStart, header.ChecksumOffset) = (NetworkHeader.NeedsChecksum, offload.ChecksumStart, offload.ChecksumOffset);
        else if ((offload.Undone & FrameOffloads.ChecksumIsValid) != 0 && (_offloads & GuestChecksum) != 0)
            header.Flags = NetworkHeader.DataValid;
        if ((offload.Undone & (FrameOffloads.TcpSegments4 | FrameOffloads.TcpSegments6)) != 0)
        {
            header.Segments = (offload.Undone & FrameOffloads.TcpSegments4) != 0 ? NetworkHeader.TcpSegments4 : NetworkHeader.TcpSegments6;
            (header.SegmentSize, header.HeaderLength) = (offload.SegmentSize, offload.HeaderLength);
        }
        int pair = _activePairs > 1 ? _flows.PairFor(frame, _activePairs) : 0;
        Reception end = _receiver.Receive(Queues[2 * pair], frame, header, HeaderLength, Has(MergeableBuffers));
        if (end == Reception.Done)
            Interlocked.Increment(ref _received);
        return end;
    }

    /// <inheritdoc/>
    public void SetLink(bool isUp)
    {
        if (_linkUp == isUp)
            return;
        _linkUp = isUp;
        ConfigChanged();
    }

    private void Control(VirtQueue queue)
    {
        Span<byte> command = stackalloc byte[2];
        while (queue.TryPop(_chain))
        {
            const byte Ok = 0, Error = 1;
            ChainCursor reader = _chain.Reader, writer = _chain.Writer;
            if (reader.Read(command) != command.Length || _chain.WritableLength == 0)
            {
                Break(); // 5.1.6.5: no command, or nowhere to answer
                return;
            }
            bool done;
            lock (_receiving)
                done = Do((NetworkCommand)BinaryPrimitives.ReadUInt16BigEndian(command), ref reader);
            queue.Push(_chain, (uint)writer.Write([done ? Ok : Error]));
        }
    }

    /// <summary>Does one command; false if it makes no sense. With the receive lock.</summary>
    private bool Do(NetworkCommand command, ref ChainCursor reader)
    {
        Span<byte> data = stackalloc byte[8];
        switch (command)
        {
            case NetworkCommand.Promiscuous or NetworkCommand.AllMulticast when Has(ControlReceive):
            case >= NetworkCommand.AllUnicast and <= NetworkCommand.NoBroadcast when Has(ControlReceiveMore):
                if (reader.Read(data[..1]) != 1)
                    return false;
                ReceiveModes mode = (ReceiveModes)(1 << (int)command);
                _filter.Modes = data[0] != 0 ? _filter.Modes | mode : _filter.Modes & ~mode;
                return true;
            case NetworkCommand.SetTable when Has(ControlReceive):
                return SetTable(ref reader);
            case NetworkCommand.SetAddress when Has(ControlAddress):
                if (reader.Read(data[..MacAddress.Length]) != MacAddress.Length)
                    return false;
                SetAddress(MacAddress.Read(data));
                return true;
            case NetworkCommand.AddVlan or NetworkCommand.DeleteVlan when Has(ControlVlan):
                int vlan = reader.Read(data[..2]) == 2 ? BinaryPrimitives.ReadUInt16LittleEndian(data) : ReceiveFilter.Vlans;
                if (vlan >= ReceiveFilter.Vlans)
                    return false;
                _filter.SetVlan(vlan, command == NetworkCommand.AddVlan);
                return true;
            case NetworkCommand.AnnouncementSent when Has(Announcement):
                _announce = false;
                return true;
            case NetworkCommand.SetPairs when Has(MultiQueue):
                int pairs = reader.Read(data[..2]) == 2 ? BinaryPrimitives.ReadUInt16LittleEndian(data) : 0;
                if (pairs < 1 || pairs > _pairs)
                    return false;
                _activePairs = pairs;
                return true;
            case NetworkCommand.SetOffloads when Has(ControlOffloads):
                ulong offloads = reader.Read(data) == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(data) : ulong.MaxValue;
                if ((offloads & ~(Features & OffloadBits)) != 0)
                    return false;
                _offloads = offloads;
                return true;
            default:
                return false;
        }
    }

    /// <summary>Two tables, of cards' and of groups' addresses, each behind its length (5.1.6.5.2). One that is too long lets all of its kind pass.</summary>
    private bool SetTable(ref ChainCursor reader)
    {
        Span<byte> data = stackalloc byte[MacAddress.Length];
        _filter.ClearAddresses();
        ReceiveModes overflow = ReceiveModes.None;
        for (int table = 0; table < 2; table++)
        {
            if (reader.Read(data[..4]) != 4)
                return false;
            uint entries = BinaryPrimitives.ReadUInt32LittleEndian(data);
            if ((ulong)entries * MacAddress.Length > reader.Remaining)
                return false;
            for (uint i = 0; i < entries; i++)
            {
                // What there is no room for need not be read: a table may be as long as memory.
                if (i == ReceiveFilter.MostAddresses)
                {
                    reader.Skip((ulong)(entries - i) * MacAddress.Length);
                    break;
                }
                reader.Read(data);
                if (!_filter.TryAdd(MacAddress.Read(data)))
                    overflow |= table == 0 ? ReceiveModes.UnicastOverflow : ReceiveModes.MulticastOverflow;
            }
            if (entries > ReceiveFilter.MostAddresses)
                overflow |= table == 0 ? ReceiveModes.UnicastOverflow : ReceiveModes.MulticastOverflow;
        }
        _filter.Modes = (_filter.Modes & ~(ReceiveModes.UnicastOverflow | ReceiveModes.MulticastOverflow)) | overflow;
        return true;
    }

    /// <summary>The driver's own choice. Where a copy takes the address that it was given, the network is to hear of it.</summary>
    private void SetAddress(MacAddress address)
    {
        bool isCopys = address == _address && _filter.Address != _address;
        _address = _filter.Address = address;
        if (!isCopys || !Has(Announcement))
            return;
        _announce = true;
        ConfigChanged();
    }

    VirtioNetworkState ISavedDevice<VirtioNetworkState>.Save() => new(_filter.Save(), _offloads, _activePairs, _announce);

    /// <summary>The driver goes on with the address that it had; if the card has another one now, somebody in the guest has to tell it.</summary>
    void ISavedDevice<VirtioNetworkState>.Restore(VirtioNetworkState state)
    {
        if (state.Pairs < 1 || state.Pairs > _pairs)
            throw new ArgumentException($"{state.Pairs} pairs of queues", nameof(state));
        _filter.Restore(state.Filter);
        _filter.ByVlan = Has(ControlVlan);
        _offloads = state.Offloads & Features & OffloadBits;
        _activePairs = state.Pairs;
        // The machine may be anywhere now: switches learn it from the guest's next frame, and that may as well be at once.
        _announce = state.Announce || (HasDriver && Has(Announcement));
    }
}
