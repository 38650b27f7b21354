using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;
using Trapline.Virtio.FileSystem.Fuse;
using static Trapline.Virtio.Tests.FileSystem.FuseDriver;

namespace Trapline.Virtio.Tests.FileSystem;

/// <summary>A FUSE server without a device, called on the test's own thread.</summary>
internal sealed class BareServer : IDisposable
{
    private const ulong RequestAt = 0x1000, ReplyAt = 0x8000;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);
    private readonly FuseExchange _exchange;

    public BareServer(string folder, int mostNodes, int mostHandles)
    {
        Server = new FuseServer(ConfinedFolder.Open(folder, readOnly: false), mostNodes, mostHandles);
        _exchange = new FuseExchange(_memory, 64);
    }

    public FuseServer Server { get; }

    public void Dispose()
    {
        Server.Dispose();
        _memory.Dispose();
    }

    public void Prepare(uint operation, ulong node, byte[] arguments, int room, int data = 0)
    {
        byte[] request = [.. U32((uint)(40 + arguments.Length + data)), .. U32(operation), .. U64(1), .. U64(node), .. new byte[16], .. arguments];
        Assert.True(_memory.TryWrite(new Gpa(RequestAt), request));
        _exchange.Chain.Clear();
        Assert.True(_exchange.Chain.TryAdd(RequestAt, (uint)(request.Length + data), writable: false));
        Assert.True(_exchange.Chain.TryAdd(ReplyAt, (uint)(16 + room), writable: true));
    }

    /// <summary>Serves what was prepared; returns the reply's length, and what that allocated.</summary>
    public (uint? Length, long Allocated) Serve()
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        uint? length = Server.Serve(_exchange);
        return (length, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    public (int Error, byte[] Content) Call(uint operation, ulong node, byte[] arguments, int room = 200)
    {
        Prepare(operation, node, arguments, room);
        byte[] reply = new byte[Serve().Length!.Value];
        Assert.True(_memory.TryRead(new Gpa(ReplyAt), reply));
        return (-(int)Get32(reply, 4), reply[16..]);
    }
}
