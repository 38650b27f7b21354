using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Network;

namespace Trapline.Virtio.Tests.Network;

public sealed class NetworkTests : IDisposable
{
    private const ulong Checksum = 1ul << 0, GuestChecksum = 1ul << 1, ControlOffloads = 1ul << 2, GuestSegments4 = 1ul << 7,
        HostSegments4 = 1ul << 11, HostSegments6 = 1ul << 12, Mergeable = 1ul << 15, ControlQueue = 1ul << 17, ControlReceive = 1ul << 18, ControlVlan = 1ul << 19,
        ReceiveMore = 1ul << 20, Announce = 1ul << 21, MultiQueue = 1ul << 22, ControlAddress = 1ul << 23;

    private const ulong AllControl = ControlQueue | ControlReceive | ControlVlan | ReceiveMore | Announce | ControlAddress | ControlOffloads;
    private const ulong SendAt = 0x4_0000, ReceiveAt = 0x8_0000, CommandAt = 0x3_0000;

    private readonly GuestMemory _memory = GuestMemory.Flat(2 << 20);
    private readonly MacAddress _mac = new(0x02_00_00_00_00_01);
    private TestNetwork _network = new();
    private VirtioNetwork _device = null!;
    private DriverFunction _driver = null!;
    private DriverQueue _receive = null!, _transmit = null!, _control = null!;

    public void Dispose()
    {
        _device?.Dispose();
        _memory.Dispose();
    }

    private void Start(ulong features, TestNetwork? network = null, bool packed = false, int pairs = 1)
    {
        _network = network ?? new TestNetwork();
        _device?.Dispose();
        _device = new VirtioNetwork("net", _memory, _network, _mac, pairs);
        _driver = new DriverFunction(_device, _memory);
        Assert.True(_driver.Negotiate(VirtioFeatures.Version1 | (packed ? VirtioFeatures.RingPacked : 0) | features));
        _receive = _driver.Queue(0, 0x4000, 64, packed);
        _transmit = _driver.Queue(1, 0x8000, 64, packed);
        _control = _driver.Queue((features & MultiQueue) != 0 ? 2 * pairs : 2, 0xC000, 16, packed);
        _driver.DriverOk();
    }

    private byte[] Bytes(ulong at, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_memory.TryRead(new Gpa(at), bytes));
        return bytes;
    }

    /// <summary>Sends a frame behind a header; returns when the device is done with it.</summary>
    private void Send(byte[] frame, byte flags = 0, byte segments = 0, ushort size = 0, ushort start = 0, ushort offset = 0)
    {
        byte[] header = new byte[12];
        (header[0], header[1]) = (flags, segments);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(4), size);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(6), start);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(8), offset);
        Assert.True(_memory.TryWrite(new Gpa(SendAt), header));
        Assert.True(_memory.TryWrite(new Gpa(SendAt + 0x1000), frame));
        int cut = frame.Length / 3;
        _transmit.Add(new Buffer(SendAt, 12, false), new Buffer(SendAt + 0x1000, (uint)cut, false), new Buffer(SendAt + 0x1000 + (ulong)cut, (uint)(frame.Length - cut), false));
        _driver.Kick(1);
        _transmit.WaitUsed();
    }

    private byte Command(int command, params byte[] data)
    {
        Assert.True(_memory.TryWrite(new Gpa(CommandAt), [(byte)(command >> 8), (byte)command, .. data]));
        Assert.True(_memory.TryWrite(new Gpa(CommandAt + 0x800), [0xEE]));
        _control.Add(new Buffer(CommandAt, 2, false), new Buffer(CommandAt + 2, (uint)data.Length, false), new Buffer(CommandAt + 0x800, 1, true));
        _driver.Kick(2);
        Assert.Equal(1u, _control.WaitUsed().Length);
        return Bytes(CommandAt + 0x800, 1)[0];
    }

    private void Give(int buffers, uint length)
    {
        for (int i = 0; i < buffers; i++)
            _receive.Add(new Buffer(ReceiveAt + (0x1000ul * (ulong)i), length, true));
        _driver.Kick(0);
    }

    private bool Receive(byte[] frame, FrameOffload offload = default) => _network.Sink.Receive(frame, offload);

    private static byte[] Frame(MacAddress to, int length = 60)
    {
        byte[] frame = new byte[length];
        new Random(length).NextBytes(frame);
        to.Write(frame);
        (frame[12], frame[13]) = (0x88, 0xB5);
        return frame;
    }

    [Fact]
    public void ACardShowsItsAddressItsLinkAndTheLinksLimit()
    {
        Start(AllControl, new TestNetwork(mtu: 9000), pairs: 4);
        Assert.Equal(0x02ul, _driver.Read(DriverFunction.DeviceConfig, 1));
        Assert.Equal(0x01ul, _driver.Read(DriverFunction.DeviceConfig + 5, 1));
        Assert.Equal(1ul, _driver.Read(DriverFunction.DeviceConfig + 6, 2));
        Assert.Equal(4ul, _driver.Read(DriverFunction.DeviceConfig + 8, 2));
        Assert.Equal(9000ul, _driver.Read(DriverFunction.DeviceConfig + 10, 2));
        _network.Sink.SetLink(false);
        Assert.True(_driver.Pin);
        Assert.Equal(0ul, _driver.Read(DriverFunction.DeviceConfig + 6, 2));
        Give(4, 2000);
        Assert.True(Receive(Frame(_mac)));
        Send(Frame(MacAddress.Broadcast));
        Assert.Equal((0, 0, 0, 2), (_network.Count, _device.Received, _device.Sent, _device.Dropped));
    }

    [Theory]
    [InlineData(HostSegments4)]
    [InlineData(GuestSegments4)]
    [InlineData(ControlReceive)]
    [InlineData(MultiQueue)]
    [InlineData(Announce)]
    public void FeaturesThatNeedOthersAreRefusedAlone(ulong features)
    {
        _device = new VirtioNetwork("net", _memory, _network, _mac, 2);
        _driver = new DriverFunction(_device, _memory);
        Assert.False(_driver.Negotiate(VirtioFeatures.Version1 | features));
        Assert.True(_driver.Negotiate(VirtioFeatures.Version1 | features | Checksum | GuestChecksum | ControlQueue));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void FramesGoOutAsTheyAre(bool packed)
    {
        Start(0, packed: packed);
        byte[] small = Frame(MacAddress.Broadcast), large = Frame(_mac, 30_000);
        Send(small);
        Send(large);
        (byte[] Frame, FrameOffload Offload)[] sent = _network.Take();
        Assert.Equal(small, sent[0].Frame);
        Assert.Equal(large, sent[1].Frame);
        Assert.All(sent, s => Assert.Equal(default, s.Offload));
    }

    [Theory]
    [InlineData(FrameOffloads.None)]
    [InlineData(FrameOffloads.Checksum)]
    public void AChecksumIsFilledInByWhoeverDoesIt(FrameOffloads accepts)
    {
        Start(Checksum, new TestNetwork(accepts));
        byte[] frame = HandMadeFrames.Tcp4(101);
        Send(frame, flags: 1, start: 34, offset: 16);
        (byte[] sent, FrameOffload offload) = Assert.Single(_network.Take());
        if (accepts == FrameOffloads.None)
        {
            Assert.True(HandMadeFrames.TcpIsRight(sent, 34));
            Assert.Equal(default, offload);
            return;
        }
        Assert.Equal(frame, sent);
        Assert.Equal(new FrameOffload(FrameOffloads.Checksum, 34, 16), offload);
    }

    [Theory]
    [InlineData(FrameOffloads.None, 7)]
    [InlineData(FrameOffloads.Checksum, 7)]
    [InlineData(FrameOffloads.Checksum | FrameOffloads.TcpSegments4, 1)]
    public void LongTcpIsCutByWhoeverDoesIt(FrameOffloads accepts, int frames)
    {
        Start(Checksum | HostSegments4, new TestNetwork(accepts));
        byte[] frame = HandMadeFrames.Tcp4(10_000);
        Send(frame, flags: 1, segments: 1, size: 1448, start: 34, offset: 16);
        (byte[] Frame, FrameOffload Offload)[] sent = _network.Take();
        Assert.Equal(frames, sent.Length);
        if (frames == 1)
            Assert.Equal(new FrameOffload(FrameOffloads.Checksum | FrameOffloads.TcpSegments4, 34, 16, 1448, 66), sent[0].Offload);
        else
            Assert.All(sent, s => Assert.True(HandMadeFrames.TcpIsRight(s.Frame, 34)));
        Assert.Equal(1, _device.Sent);
    }

    [Fact]
    public void HeadersThatMakeNoSenseAreDropped()
    {
        Start(Checksum | HostSegments4, new TestNetwork(FrameOffloads.Checksum | FrameOffloads.TcpSegments4));
        byte[] frame = HandMadeFrames.Tcp4(200);
        Send(frame, flags: 1, start: 34, offset: 5000);
        Send(frame, flags: 1, start: ushort.MaxValue, offset: ushort.MaxValue);
        Send(frame, flags: 1, start: 3, offset: 0);
        Send(frame, flags: 0, segments: 1, size: 100, start: 34, offset: 16); // segments need the checksum
        Send(frame, flags: 1, segments: 4, size: 100, start: 34, offset: 16); // not agreed on
        Send(frame, flags: 1, segments: 3, size: 100, start: 34, offset: 16); // UDP, which nobody offered
        Send(frame, flags: 1, segments: 1, size: 0, start: 34, offset: 16);
        Send(frame, flags: 1, segments: 1, size: 100, start: 40, offset: 16);
        Send(new byte[13]);
        Send(new byte[66_000]);
        Assert.Empty(_network.Take());
        Assert.Equal(10, _device.Dropped);
        Send(frame);
        Assert.Single(_network.Take());
    }

    [Fact]
    public void AFrameWithoutHeaderBreaksTheDevice()
    {
        Start(0);
        _transmit.Add(new Buffer(SendAt, 11, false));
        _driver.Kick(1);
        Assert.True(SpinWait.SpinUntil(() => (_driver.Status & 64) != 0, 5000));
        Assert.True(Receive(Frame(_mac))); // dropped, and the back end does not wait
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFrameLiesInAsManyBuffersAsItTakes(bool packed)
    {
        Start(Mergeable | GuestChecksum, packed: packed);
        for (int round = 0; round < 50; round++)
        {
            Give(5, 1000);
            byte[] frame = Frame(_mac, 3001);
            Assert.True(Receive(frame, new FrameOffload(FrameOffloads.ChecksumIsValid)));
            byte[] got = new byte[4 * 1000];
            int length = 0;
            for (int i = 0; i < 4; i++)
            {
                uint used = _receive.WaitUsed().Length;
                Bytes(ReceiveAt + (0x1000ul * (ulong)i), (int)used).CopyTo(got, length);
                length += (int)used;
            }
            Assert.Equal(12 + 3001, length);
            Assert.Equal([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0], got[..12]);
            Assert.Equal(frame, got[12..length]);
            Assert.Null(_receive.TakeUsed());
            // The fifth is the next frame's.
            Assert.True(Receive(Frame(_mac)));
            Assert.Equal(72u, _receive.WaitUsed().Length);
            Assert.Equal(Frame(_mac), Bytes(ReceiveAt + 0x4000 + 12, 60));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFrameThatFindsNoRoomWaitsForIt(bool packed)
    {
        Start(Mergeable, packed: packed);
        int room = 0;
        _network.Sink.RoomAvailable += () => Interlocked.Increment(ref room);
        Assert.False(Receive(Frame(_mac)));
        Give(2, 1000);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref room) == 1, 5000));
        byte[] frame = Frame(_mac, 2900);
        Assert.False(Receive(frame)); // two buffers of three
        _receive.Add(new Buffer(ReceiveAt + 0x2000, 1000, true));
        _driver.Kick(0);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref room) == 2, 5000));
        Assert.True(Receive(frame));
        Assert.Equal(2912u, _receive.WaitUsed().Length + _receive.WaitUsed().Length + _receive.WaitUsed().Length);
        Assert.Equal(frame[..988], Bytes(ReceiveAt + 12, 988));
        Assert.Equal(0, _device.Dropped);
    }

    [Fact]
    public void WhatFitsNoBufferOfTheDriversIsDropped()
    {
        Start(0);
        Give(3, 1526);
        Assert.True(Receive(Frame(_mac, 1515)));
        Assert.Equal(1, _device.Dropped);
        Assert.True(Receive(Frame(_mac, 1514)));
        Assert.Equal(1526u, _receive.WaitUsed().Length);
        Start(Mergeable);
        Give(60, 100);
        Assert.True(Receive(Frame(_mac, 5000))); // most of the queue
        Assert.Equal(1, _device.Dropped);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(Mergeable)]
    public void ABufferWithoutRoomForTheHeaderBreaksTheDevice(ulong features)
    {
        Start(features);
        Give(1, 11);
        Assert.True(Receive(Frame(_mac)));
        Assert.NotEqual(0, _driver.Status & 64);
    }

    [Fact]
    public void WhatIsUndoneIsSaidAndOnlyWhatWasAgreedOn()
    {
        Start(Mergeable | GuestChecksum | GuestSegments4 | AllControl);
        Assert.Equal(FrameOffloads.Checksum | FrameOffloads.ChecksumIsValid | FrameOffloads.TcpSegments4, _network.Sink.Accepts);
        Give(8, 2000);
        byte[] frame = HandMadeFrames.Tcp4(1600);
        FrameOffload offload = new(FrameOffloads.Checksum | FrameOffloads.TcpSegments4, 34, 16, 1448, 66);
        Assert.True(Receive(frame, offload));
        Assert.Equal([1, 1, 66, 0, 0xA8, 5, 34, 0, 16, 0, 1, 0], Bytes(ReceiveAt, 12));
        Assert.True(Receive(frame, offload with { Undone = FrameOffloads.TcpSegments6 | FrameOffloads.Checksum }));
        Assert.Equal(1, _device.Dropped);
        Assert.Equal(0, Command(0x500, 2, 0, 0, 0, 0, 0, 0, 0));
        Assert.Equal(FrameOffloads.Checksum | FrameOffloads.ChecksumIsValid, _network.Sink.Accepts);
        Assert.Equal(1, Command(0x500, 2, 1, 0, 0, 0, 0, 0, 0)); // IPv6, which it did not agree to
        Assert.Equal(1, Command(0x500, 2));
    }

    [Fact]
    public void TheDriverSaysWhatItListensTo()
    {
        Start(AllControl);
        Give(60, 100);
        MacAddress other = new(0x02_00_00_00_00_99), group = new(0x33_33_00_00_00_01);
        Assert.True(Hears(other)); // until it says otherwise
        Assert.Equal(0, Command(0x000, 0));
        Assert.False(Hears(other));
        Assert.False(Hears(group));
        Assert.True(Hears(_mac));
        Assert.True(Hears(MacAddress.Broadcast));
        Assert.Equal(0, Command(0x100, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0x99, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1));
        Assert.True(Hears(other));
        Assert.True(Hears(group));
        Assert.False(Hears(new MacAddress(0x33_33_00_00_00_02)));
        Assert.Equal(0, Command(0x001, 1));
        Assert.True(Hears(new MacAddress(0x33_33_00_00_00_02)));
        Assert.Equal(0, Command(0x003, 1));
        Assert.False(Hears(group));
        Assert.Equal(0, Command(0x005, 1));
        Assert.False(Hears(MacAddress.Broadcast));
        Assert.Equal(0, Command(0x101, 2, 0, 0, 0, 0, 0x77));
        Assert.False(Hears(_mac));
        Assert.True(Hears(new MacAddress(0x02_00_00_00_00_77)));
        Assert.Equal(0x77ul, _driver.Read(DriverFunction.DeviceConfig + 5, 1));
        Assert.Equal(1, Command(0x100, 200, 0, 0, 0, 1)); // a table longer than the command
        Assert.Equal(1, Command(0x777));
        Assert.Equal(1, Command(0x101, 1));
        byte[] many = [.. BitConverter.GetBytes(100), .. new byte[600], 0, 0, 0, 0];
        Assert.Equal(0, Command(0x100, many));
        Assert.True(Hears(other)); // all of a kind that there is no room for
    }

    private bool Hears(MacAddress to)
    {
        long before = _device.Received;
        Assert.True(Receive(Frame(to)));
        return _device.Received > before;
    }

    [Fact]
    public void VirtualNetworksAreFilteredOnceTheDriverNamesThem()
    {
        Start(AllControl);
        Give(20, 100);
        byte[] tagged = Frame(_mac);
        (tagged[12], tagged[13], tagged[14], tagged[15]) = (0x81, 0, 0xE1, 0x23);
        Assert.True(Receive(tagged));
        Assert.Equal(0, _device.Received);
        Assert.Equal(0, Command(0x200, 0x23, 0x01));
        Assert.True(Receive(tagged));
        Assert.Equal(1, _device.Received);
        Assert.Equal(1, Command(0x200, 0, 0x10));
        Assert.Equal(0, Command(0x201, 0x23, 0x01));
        Assert.True(Receive(tagged));
        Assert.Equal(1, _device.Received);
    }

    [Fact]
    public void ALegacyDriversHeaderIsShort()
    {
        _device = new VirtioNetwork("net", _memory, _network, _mac, 1);
        _driver = new DriverFunction(_device, _memory);
        IPortDevice ports = _driver.Legacy!;
        ports.WritePort(18, 1, 3);
        ports.WritePort(4, 4, (uint)GuestChecksum);
        for (uint q = 0; q < 2; q++)
        {
            ports.WritePort(14, 2, q);
            Assert.Equal(256u, ports.ReadPort(12, 2));
            ports.WritePort(8, 4, 0x10 + (q * 4));
        }
        DriverQueue receive = new(_memory, 0x1_0000, 256, false), transmit = new(_memory, 0x1_4000, 256, false);
        ports.WritePort(18, 1, 7);
        receive.Add(new Buffer(ReceiveAt, 10, true), new Buffer(ReceiveAt + 0x100, 1514, true));
        Assert.True(Receive(Frame(_mac)));
        Assert.Equal(70u, receive.WaitUsed().Length);
        Assert.Equal(Frame(_mac), Bytes(ReceiveAt + 0x100, 60));
        Assert.True(_memory.TryWrite(new Gpa(SendAt), new byte[10]));
        Assert.True(_memory.TryWrite(new Gpa(SendAt + 10), Frame(MacAddress.Broadcast)));
        transmit.Add(new Buffer(SendAt, 70, false));
        ports.WritePort(16, 2, 1);
        transmit.WaitUsed();
        Assert.Equal(Frame(MacAddress.Broadcast), Assert.Single(_network.Take()).Frame);
        ports.WritePort(25, 1, 0x55); // the address is the driver's to write
        Assert.Equal(new MacAddress(0x02_00_00_00_00_55), _device.CardAddress);
    }

    [Fact]
    public void AFlowComesBackWhereItWasSentFrom()
    {
        Start(ControlQueue | MultiQueue, pairs: 2);
        DriverQueue secondReceive = _driver.Queue(2, 0x1_0000, 64), secondTransmit = _driver.Queue(3, 0x1_4000, 64);
        Give(4, 2000);
        for (ulong i = 0; i < 4; i++)
            secondReceive.Add(new Buffer(ReceiveAt + 0x1_0000 + (i * 0x1000), 2000, true));
        byte[] there = HandMadeFrames.Tcp4(100), back = [.. there];
        there.AsSpan(26, 4).CopyTo(back.AsSpan(30));
        there.AsSpan(30, 4).CopyTo(back.AsSpan(26));
        there.AsSpan(34, 2).CopyTo(back.AsSpan(36));
        there.AsSpan(36, 2).CopyTo(back.AsSpan(34));
        Assert.True(Receive(back));
        _receive.WaitUsed();
        SetPairs(2);
        Assert.True(_memory.TryWrite(new Gpa(SendAt), [.. new byte[12], .. there]));
        secondTransmit.Add(new Buffer(SendAt, (uint)there.Length + 12, false));
        _driver.Kick(3);
        secondTransmit.WaitUsed();
        Assert.True(Receive(back));
        secondReceive.WaitUsed();
        SetPairs(1);
        Assert.True(Receive(back));
        _receive.WaitUsed();

        void SetPairs(byte pairs)
        {
            Assert.True(_memory.TryWrite(new Gpa(CommandAt), [4, 0, pairs, 0]));
            _control.Add(new Buffer(CommandAt, 4, false), new Buffer(CommandAt + 8, 1, true));
            _driver.Kick(4);
            _control.WaitUsed();
            Assert.Equal(0, Bytes(CommandAt + 8, 1)[0]);
        }
    }

    [Fact]
    public void ACopyHasAnAddressOfItsOwnOnceItsDriverIsTold()
    {
        Start(AllControl | Mergeable);
        Command(0x000, 0);
        _device.Stand();
        (VirtioDeviceState common, VirtioNetworkState state) = (_device.Save(), ((ISavedDevice<VirtioNetworkState>)_device).Save());
        MacAddress own = new(0x02_00_00_00_00_42);
        TestNetwork network = new();
        using VirtioNetwork copy = new("net", _memory, network, own, 1);
        DriverFunction driver = new(copy, _memory);
        copy.Stand();
        copy.Restore(common);
        ((ISavedDevice<VirtioNetworkState>)copy).Restore(state);
        Assert.Equal((own, _mac), (copy.CardAddress, copy.DriverAddress));
        (_device, _driver, _network) = (copy, driver, network);
        copy.Run();
        Assert.Equal(3ul, driver.Read(DriverFunction.DeviceConfig + 6, 2)); // the link is up, and the driver is to say so
        Assert.Equal(0, Command(0x300));
        Assert.Equal(1ul, driver.Read(DriverFunction.DeviceConfig + 6, 2));
        Give(20, 100);
        Assert.True(Hears(_mac));
        Assert.False(Hears(own));
        Assert.Equal(0, Command(0x101, 2, 0, 0, 0, 0, 0x42));
        Assert.True(Hears(own));
        Assert.False(Hears(_mac));
        Assert.Equal(3ul, driver.Read(DriverFunction.DeviceConfig + 6, 2));
        Assert.Throws<ArgumentException>(() => ((ISavedDevice<VirtioNetworkState>)copy).Restore(state with { Pairs = 2 }));
        Assert.Throws<ArgumentException>(() => ((ISavedDevice<VirtioNetworkState>)copy).Restore(state with { Filter = state.Filter with { Address = "none" } }));
    }

    [Fact]
    public void AMachineThatStandsKeepsTheNetworkWaiting()
    {
        Start(0);
        Give(2, 2000);
        _device.Stand();
        bool room = false;
        _network.Sink.RoomAvailable += () => room = true;
        Assert.False(Receive(Frame(_mac)));
        _device.Run();
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref room), 5000));
        Assert.True(Receive(Frame(_mac)));
        _driver.Reset();
        Assert.True(Receive(Frame(_mac))); // no driver: gone
    }

    [Fact]
    public void AFrameAllocatesNothing()
    {
        Start(Mergeable | Checksum, new TestNetwork(loopsBack: true));
        byte[] frame = HandMadeFrames.Tcp4(1200);
        for (int i = 0; i < 300; i++)
        {
            Give(2, 1000);
            Send(frame, flags: 1, start: 34, offset: 16);
            Assert.Equal(12u + (uint)frame.Length, _receive.WaitUsed().Length + _receive.WaitUsed().Length);
        }
        Assert.Equal(_network.Allocated[100], _network.Allocated[^1]);
    }
}
