using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Testing;
using Trapline.Virtio.Vsock;

namespace Trapline.Virtio.Tests;

public sealed class VsockTests : IDisposable
{
    private const int Rx = 0, Tx = 1, Event = 2;
    private const ulong RxBuffers = 0x4_0000, TxBuffer = 0x8_0000;
    private const uint BufferLength = 4096;

    private readonly TemporaryDirectory _folder = new();
    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);
    private readonly VirtioVsock _device;
    private readonly DriverFunction _driver;
    private readonly DriverQueue _rx, _tx;
    private readonly Dictionary<uint, ulong> _buffers = [];

    public VsockTests()
    {
        _device = new VirtioVsock(_memory, 7, _folder.File("v"));
        _driver = new DriverFunction(_device, _memory);
        Assert.True(_driver.Negotiate(VirtioFeatures.Version1));
        _rx = _driver.Queue(Rx, 0x4000, 32);
        _tx = _driver.Queue(Tx, 0x8000, 32);
        _driver.Queue(Event, 0xC000, 32);
        _driver.DriverOk();
        for (int i = 0; i < 16; i++)
            Offer(RxBuffers + (BufferLength * (ulong)i));
        _driver.Kick(Rx);
    }

    public void Dispose()
    {
        _device.Dispose();
        _memory.Dispose();
        _folder.Dispose();
    }

    private void Offer(ulong at) => _buffers[_rx.Add(new Buffer(at, BufferLength, true))] = at;

    private void Send(VsockOperation operation, uint guestPort, uint hostPort, string data = "", uint flags = 0, uint credit = 1 << 16, uint forwarded = 0)
    {
        byte[] packet = new byte[VsockHeader.Size + data.Length];
        MemoryMarshal.Write(packet, new VsockHeader(7, 2, guestPort, hostPort, (uint)data.Length, VsockHeader.Stream, operation, flags, credit, forwarded));
        Encoding.ASCII.GetBytes(data).CopyTo(packet, VsockHeader.Size);
        Assert.True(_memory.TryWrite(new Gpa(TxBuffer), packet));
        _tx.Add(new Buffer(TxBuffer, (uint)packet.Length, false));
        _driver.Kick(Tx);
        _tx.WaitUsed();
    }

    private (VsockHeader Head, string Data) Receive()
    {
        (uint id, uint length) = _rx.WaitUsed();
        byte[] packet = new byte[length];
        Assert.True(_memory.TryRead(new Gpa(_buffers[id]), packet));
        Offer(_buffers[id]);
        _driver.Kick(Rx);
        return (MemoryMarshal.Read<VsockHeader>(packet), Encoding.ASCII.GetString(packet, VsockHeader.Size, (int)length - VsockHeader.Size));
    }

    private Socket Connect(string name)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 5000 };
        socket.Connect(new UnixDomainSocketEndPoint(_folder.File(name)));
        return socket;
    }

    private Socket Listen(string name)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(_folder.File(name)));
        socket.Listen();
        return socket;
    }

    private static string Read(Socket socket, int length)
    {
        byte[] bytes = new byte[length];
        for (int done = 0; done < length;)
        {
            int read = socket.Receive(bytes.AsSpan(done));
            if (read == 0)
                return Encoding.ASCII.GetString(bytes, 0, done);
            done += read;
        }
        return Encoding.ASCII.GetString(bytes);
    }

    [Fact]
    public void TheHostReachesAPortOfTheGuest()
    {
        Assert.Equal(7ul, _driver.Read(DriverFunction.DeviceConfig, 8));
        using Socket host = Connect("v");
        host.Send("CONNECT 52\nearly"u8);
        (VsockHeader request, _) = Receive();
        Assert.Equal((VsockOperation.Request, 52u, 2ul, 7ul), (request.Operation, request.DestinationPort, request.SourceCid, request.DestinationCid));
        Send(VsockOperation.Response, 52, request.SourcePort);
        Assert.Equal($"OK {request.SourcePort}\n", Read(host, $"OK {request.SourcePort}\n".Length));
        (VsockHeader data, string text) = Receive();
        Assert.Equal((VsockOperation.Data, "early"), (data.Operation, text));
        Send(VsockOperation.Data, 52, request.SourcePort, "answer", forwarded: 5);
        Assert.Equal("answer", Read(host, 6));
        host.Shutdown(SocketShutdown.Send);
        Assert.Equal((VsockOperation.Shutdown, VsockHeader.NoSend), (Receive().Head.Operation, VsockHeader.NoSend));
        Send(VsockOperation.Data, 52, request.SourcePort, "last", forwarded: 5);
        Send(VsockOperation.Shutdown, 52, request.SourcePort, flags: 3, forwarded: 5);
        Assert.Equal("last", Read(host, 100));
        Assert.Equal(VsockOperation.Reset, Receive().Head.Operation);
    }

    [Fact]
    public void TheGuestReachesAPortOfTheHost()
    {
        using Socket listener = Listen("v_99");
        Send(VsockOperation.Request, 1000, 99);
        Assert.Equal((VsockOperation.Response, 99u, 1000u), Receive().Head is var h ? (h.Operation, h.SourcePort, h.DestinationPort) : default);
        using Socket host = listener.Accept();
        host.ReceiveTimeout = 5000;
        Send(VsockOperation.Data, 1000, 99, "hello");
        Assert.Equal("hello", Read(host, 5));
        host.Send("there"u8);
        Assert.Equal("there", Receive().Data);
        host.Dispose();
        Assert.Equal(VsockOperation.Shutdown, Receive().Head.Operation);
        Send(VsockOperation.CreditRequest, 1000, 99);
        Assert.Equal(VsockOperation.CreditUpdate, Receive().Head.Operation);
    }

    [Fact]
    public void WhatNobodyServesIsReset()
    {
        Send(VsockOperation.Request, 1000, 98);
        Assert.Equal(VsockOperation.Reset, Receive().Head.Operation);
        Send(VsockOperation.Data, 1, 2, "lost");
        Assert.Equal(VsockOperation.Reset, Receive().Head.Operation);
        Send(VsockOperation.Reset, 1, 2);
        Send(VsockOperation.Request, 5, 97);
        Assert.Equal(5u, Receive().Head.DestinationPort); // nothing answered the reset
    }

    [Fact]
    public void TheGuestsCreditIsKeptTo()
    {
        using Socket listener = Listen("v_99");
        Send(VsockOperation.Request, 1000, 99, credit: 10);
        Receive();
        using Socket host = listener.Accept();
        host.Send("0123456789abcdefghij"u8);
        Assert.Equal("0123456789", Receive().Data);
        Assert.Null(_rx.TakeUsed());
        Send(VsockOperation.CreditUpdate, 1000, 99, credit: 10, forwarded: 6);
        Assert.Equal("abcdef", Receive().Data);
        Send(VsockOperation.CreditUpdate, 1000, 99, credit: 10, forwarded: 16);
        Assert.Equal("ghij", Receive().Data);
    }

    [Fact]
    public async Task MuchDataPassesBothWaysInOrder()
    {
        using Socket listener = Listen("v_99");
        Send(VsockOperation.Request, 1000, 99);
        Receive();
        using Socket host = listener.Accept();
        host.ReceiveTimeout = 5000;
        string block = string.Concat(Enumerable.Range(0, 1000).Select(i => (char)('a' + (i % 26))));
        Task<string> reading = Task.Run(() => Read(host, 1000 * 200));
        uint sent = 0, told = 0;
        for (int i = 0; i < 200; i++)
        {
            while (sent + 1000 - told > VsockConnection.BufferBytes)
                told = Receive().Head.Forwarded;
            Send(VsockOperation.Data, 1000, 99, block);
            sent += 1000;
        }
        string all = string.Concat(Enumerable.Repeat(block, 200));
        Assert.Equal(all, await reading);

        Task writing = Task.Run(() => host.Send(Encoding.ASCII.GetBytes(all)));
        StringBuilder got = new();
        while (got.Length < all.Length)
        {
            (VsockHeader head, string data) = Receive();
            Assert.Contains(head.Operation, (VsockOperation[])[VsockOperation.Data, VsockOperation.CreditUpdate]);
            got.Append(data);
            if (data.Length > 0)
                Send(VsockOperation.CreditUpdate, 1000, 99, credit: 10_000, forwarded: (uint)got.Length);
        }
        Assert.Equal(all, got.ToString());
        await writing;
    }

    [Fact]
    public void AMachineThatGoesOnIsToldThatItsConnectionsAreGone()
    {
        _device.Stand();
        VirtioVsockState state = ((ISavedDevice<VirtioVsockState>)_device).Save();
        using VirtioVsock other = new(_memory, 7, null);
        DriverFunction driver = new(other, _memory);
        Assert.True(driver.Negotiate(VirtioFeatures.Version1));
        _memory.TryWrite(new Gpa(0xC000), new byte[0x2000]);
        DriverQueue events = driver.Queue(Event, 0xC000, 32);
        other.Stand();
        ((ISavedDevice<VirtioVsockState>)other).Restore(state);
        events.Add(new Buffer(RxBuffers, 8, true));
        driver.DriverOk();
        other.Run();
        Assert.Equal(4u, events.WaitUsed().Length);
    }

    [Fact]
    public void ASocketThatIsInUseIsRefusedAndAStaleOneIsNot()
    {
        Assert.Contains("cannot be made", Assert.Throws<BadInputException>(() => new VirtioVsock(_memory, 3, _folder.File("v"))).Message);
        using (Listen("live")) // .NET would remove the name that it bound
            File.Move(_folder.File("live"), _folder.File("stale"));
        Assert.True(File.Exists(_folder.File("stale")));
        using VirtioVsock device = new(_memory, 3, _folder.File("stale"));
    }
}
