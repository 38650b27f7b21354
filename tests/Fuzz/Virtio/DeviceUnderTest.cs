using System.Net.Sockets;
using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;
using Trapline.Testing;
using Trapline.Virtio;
using Trapline.Virtio.Balloon;
using Trapline.Virtio.Block;
using Trapline.Virtio.Console;
using Trapline.Virtio.FileSystem;
using Trapline.Virtio.Network;
using Trapline.Virtio.Rng;
using Trapline.Virtio.Tests;
using Trapline.Virtio.Vsock;

namespace Trapline.Fuzz.Virtio;

/// <summary>A device of one type with memory and back ends of its own.</summary>
internal sealed class DeviceUnderTest : IDisposable
{
    public const int MemoryBytes = 1 << 20;

    private readonly List<IDisposable> _open = [];

    public static readonly string[] Types = ["block", "rng", "balloon", "console", "vsock", "net", "share"];

    public DeviceUnderTest(string type, string folder, RandomSource random)
    {
        Type = type;
        Memory = GuestMemory.Flat(MemoryBytes);
        VirtioDevice device = type switch
        {
            "block" => new VirtioBlock("fuzz", Memory, new MemoryDisk(1 << 20), "fuzz", queues: 2, workers: 2),
            "rng" => new VirtioRng(Memory),
            "balloon" => new VirtioBalloon(Memory),
            "console" => new VirtioConsole(Memory, [new ConsolePortSpecification("one", new EchoLine()), new ConsolePortSpecification("two", new EchoLine(), IsConsole: true)]),
            "net" => new VirtioNetwork("fuzz", Memory, new TestNetwork(random.OneIn(2) ? FrameOffloads.None : (FrameOffloads)7, loopsBack: true), new MacAddress(0x02_00_00_00_00_01), queuePairs: 2),
            "share" => new VirtioFileSystem("fuzz", Memory, "fuzz", ConfinedFolder.Open(SharedFolder.Make(folder), readOnly: random.OneIn(8)), workers: 2),
            _ => new VirtioVsock(Memory, 3, Path.Combine(folder, "v")),
        };
        _open.Add(device);
        if (type == "share")
            _open.Add(new SharedFolder(folder));
        if (type == "vsock")
            _open.Add(new EchoListener(Path.Combine(folder, "v_1")));
        Driver = new DriverFunction(device, Memory);
    }

    public string Type { get; }

    public GuestMemory Memory { get; }

    public DriverFunction Driver { get; }

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
