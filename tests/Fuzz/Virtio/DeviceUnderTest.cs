using System.Buffers.Binary;
using System.Net.Sockets;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Testing;
using Trapline.Virtio;
using Trapline.Virtio.Balloon;
using Trapline.Virtio.Block;
using Trapline.Virtio.Console;
using Trapline.Virtio.Rng;
using Trapline.Virtio.Tests;
using Trapline.Virtio.Vsock;

namespace Trapline.Fuzz.Virtio;

/// <summary>A device of one type with memory and back ends of its own, and how a request for it begins.</summary>
internal sealed class DeviceUnderTest : IDisposable
{
    public const int MemoryBytes = 1 << 20;

    private readonly List<IDisposable> _open = [];

    public static readonly string[] Types = ["block", "rng", "balloon", "console", "vsock"];

    public DeviceUnderTest(string type, string folder)
    {
        Type = type;
        Memory = GuestMemory.Flat(MemoryBytes);
        VirtioDevice device = type switch
        {
            "block" => new VirtioBlock("fuzz", Memory, new MemoryDisk(1 << 20), "fuzz", queues: 2, workers: 2),
            "rng" => new VirtioRng(Memory),
            "balloon" => new VirtioBalloon(Memory),
            "console" => new VirtioConsole(Memory, [new ConsolePortSpecification("one", new EchoLine()), new ConsolePortSpecification("two", new EchoLine(), IsConsole: true)]),
            _ => new VirtioVsock(Memory, 3, Path.Combine(folder, "v")),
        };
        _open.Add(device);
        if (type == "vsock")
            _open.Add(new EchoListener(Path.Combine(folder, "v_1")));
        Driver = new DriverFunction(device, Memory);
    }

    public string Type { get; }

    public GuestMemory Memory { get; }

    public DriverFunction Driver { get; }

    /// <summary>Writes what a driver would say at the beginning of a request, more or less.</summary>
    public void WriteHead(RandomSource random, ulong at, int queue)
    {
        Span<byte> head = stackalloc byte[64];
        for (int i = 0; i < head.Length; i += 8)
            BinaryPrimitives.WriteUInt64LittleEndian(head[i..], random.OneIn(3) ? random.Integer() : 0);
        switch (Type)
        {
            case "block":
                uint[] types = [0, 1, 1, 4, 8, 11, 13, 2];
                BinaryPrimitives.WriteUInt32LittleEndian(head, types[random.Below(types.Length)]);
                BinaryPrimitives.WriteUInt64LittleEndian(head[8..], random.OneIn(4) ? random.Integer() : (ulong)random.Below(2048));
                BinaryPrimitives.WriteUInt64LittleEndian(head[16..], (ulong)random.Below(2048));
                BinaryPrimitives.WriteUInt64LittleEndian(head[24..], (ulong)random.Below(64));
                break;
            case "balloon":
                for (int i = 0; i < head.Length; i += 4)
                    BinaryPrimitives.WriteUInt32LittleEndian(head[i..], random.OneIn(8) ? (uint)random.Integer() : 0xC0 + (uint)random.Below(0x40));
                break;
            case "console":
                BinaryPrimitives.WriteUInt32LittleEndian(head, (uint)random.Below(4));
                BinaryPrimitives.WriteUInt16LittleEndian(head[4..], (ushort)random.Below(9));
                BinaryPrimitives.WriteUInt16LittleEndian(head[6..], (ushort)random.Below(2));
                break;
            case "vsock" when queue == 1:
                BinaryPrimitives.WriteUInt64LittleEndian(head, random.OneIn(16) ? random.Integer() : 3);
                BinaryPrimitives.WriteUInt64LittleEndian(head[8..], random.OneIn(16) ? random.Integer() : 2);
                BinaryPrimitives.WriteUInt32LittleEndian(head[16..], (uint)random.Below(400));
                BinaryPrimitives.WriteUInt32LittleEndian(head[20..], random.OneIn(4) ? 2u : 1u);
                BinaryPrimitives.WriteUInt32LittleEndian(head[24..], random.OneIn(4) ? (uint)random.Integer() : (uint)random.Below(64));
                BinaryPrimitives.WriteUInt16LittleEndian(head[28..], random.OneIn(16) ? (ushort)random.Integer() : (ushort)1);
                BinaryPrimitives.WriteUInt16LittleEndian(head[30..], (ushort)random.Below(9));
                BinaryPrimitives.WriteUInt32LittleEndian(head[32..], (uint)random.Below(4));
                BinaryPrimitives.WriteUInt32LittleEndian(head[36..], (uint)random.Integer());
                break;
        }
        Memory.TryWrite(new Gpa(at), head);
    }

    public void Dispose()
    {
        _open.ForEach(o => o.Dispose());
        Memory.Dispose();
    }

    /// <summary>Sends back what it gets, as far as there is room.</summary>
    private sealed class EchoLine : ICharacterBackend
    {
        private ICharacterSink? _sink;

        public void Write(ReadOnlySpan<byte> data) => _sink?.Receive(data);

        public void Connect(ICharacterSink sink) => _sink = sink;
    }

    /// <summary>A program of the host that sends back what it gets.</summary>
    private sealed class EchoListener : IDisposable
    {
        private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

        public EchoListener(string path)
        {
            _socket.Bind(new UnixDomainSocketEndPoint(path));
            _socket.Listen(64);
            new Thread(Serve) { IsBackground = true }.Start();
        }

        private void Serve()
        {
            byte[] bytes = new byte[4096];
            try
            {
                for (; ; )
                {
                    using Socket peer = _socket.Accept();
                    peer.ReceiveTimeout = 1;
                    try
                    {
                        for (int n = peer.Receive(bytes); n > 0; n = peer.Receive(bytes))
                            peer.Send(bytes.AsSpan(0, n));
                    }
                    catch (SocketException)
                    {
                        // The next one.
                    }
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Done.
            }
        }

        public void Dispose() => _socket.Dispose();
    }
}
