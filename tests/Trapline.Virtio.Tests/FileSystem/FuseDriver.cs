using System.Buffers.Binary;
using System.Text;
using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;
using Trapline.Virtio.FileSystem;

namespace Trapline.Virtio.Tests.FileSystem;

/// <summary>A guest's FUSE driver: requests by hand to a device that shares a folder.</summary>
internal sealed class FuseDriver : IDisposable
{
    public const ulong Root = 1;
    public const int ReadOnlyFlag = 0, WriteOnlyFlag = 1, ReadWriteFlag = 2, CreateFlag = 0x40, ExclusiveFlag = 0x80, TruncateFlag = 0x200, AppendFlag = 0x400;

    public const int NotPermitted = 1, NoEntry = 2, BadDescriptor = 9, Exists = 17, OtherDevice = 18, NoFolder = 20, IsFolder = 21, Invalid = 22, TooManyOpen = 23, ReadOnly = 30,
        TooManyLinks = 40, NameTooLong = 36, NotEmpty = 39, NoSystemCall = 38, Stale = 116;

    private const ulong HighAt = 0x1000, QueueAt = 0x8000, RequestAt = 0x2_0000, ReplyAt = 0x8_0000;
    public const int MostReply = 0x4_0000;

    private readonly DriverQueue _high, _queue;
    private ulong _unique = 1;

    public FuseDriver(string folder, bool readOnly = false, int workers = 2, VirtioFileSystemState? state = null)
    {
        Device = new VirtioFileSystem("share", Memory, "tag", ConfinedFolder.Open(folder, readOnly), workers);
        if (state is not null)
            ((ISavedDevice<VirtioFileSystemState>)Device).Restore(state);
        Driver = new DriverFunction(Device, Memory);
        Driver.Write(0x14, 1, 3); // without the reset of DriverFunction.Negotiate, which would forget a restored state
        Driver.Write(8, 4, 1);
        Driver.Write(12, 4, 1);
        Driver.Status = 11;
        _high = Driver.Queue(0, HighAt, 16);
        _queue = Driver.Queue(1, QueueAt, 64);
        Driver.DriverOk();
        if (state is null)
            Assert.Equal(0, Call(26, 0, [.. U32(7), .. U32(38), .. U32(1 << 17), .. U32(uint.MaxValue), .. new byte[48]]).Error);
    }

    public GuestMemory Memory { get; } = GuestMemory.Flat(1 << 20);

    public VirtioFileSystem Device { get; }

    public DriverFunction Driver { get; }

    public VirtioFileSystemState Saved => ((ISavedDevice<VirtioFileSystemState>)Device).Save();

    public void Dispose()
    {
        Device.Dispose();
        Memory.Dispose();
    }

    public static byte[] U32(uint value) => BitConverter.GetBytes(value);

    public static byte[] U64(ulong value) => BitConverter.GetBytes(value);

    public static byte[] Text(string text) => [.. Encoding.UTF8.GetBytes(text), 0];

    public static ulong Get64(byte[] bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at));

    public static uint Get32(byte[] bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at));

    /// <summary>A request and its reply: the error, as a positive number, and what came with it.</summary>
    public (int Error, byte[] Content) Call(uint operation, ulong node, byte[] arguments, int room = 4096, byte[]? data = null)
    {
        byte[] request = [.. U32((uint)(40 + arguments.Length + (data?.Length ?? 0))), .. U32(operation), .. U64(++_unique), .. U64(node), .. new byte[16], .. arguments];
        Assert.True(Memory.TryWrite(new Gpa(RequestAt), request));
        Buffer[] buffers = [new(RequestAt, 40, false), new(RequestAt + 40, (uint)arguments.Length, false)];
        if (data is not null)
        {
            Assert.True(Memory.TryWrite(new Gpa(RequestAt + 0x1000), data));
            int cut = data.Length / 3;
            buffers = [.. buffers, new(RequestAt + 0x1000, (uint)cut, false), new(RequestAt + 0x1000 + (uint)cut, (uint)(data.Length - cut), false)];
        }
        _queue.Add([.. buffers, new(ReplyAt, 16, true), new(ReplyAt + 16, (uint)(room / 2), true), new(ReplyAt + 16 + (uint)(room / 2), (uint)(room - (room / 2)), true)]);
        Driver.Kick(1);
        uint used = _queue.WaitUsed().Length;
        byte[] reply = new byte[used];
        Assert.True(Memory.TryRead(new Gpa(ReplyAt), reply));
        Assert.Equal(used, Get32(reply, 0));
        Assert.Equal(_unique, Get64(reply, 8));
        int error = -(int)Get32(reply, 4);
        Assert.True(error == 0 || used == 16);
        return (error, reply[16..]);
    }

    /// <summary>A message that has no reply.</summary>
    public void Tell(uint operation, ulong node, byte[] arguments)
    {
        byte[] request = [.. U32((uint)(40 + arguments.Length)), .. U32(operation), .. U64(++_unique), .. U64(node), .. new byte[16], .. arguments];
        Assert.True(Memory.TryWrite(new Gpa(RequestAt), request));
        _high.Add(new Buffer(RequestAt, (uint)request.Length, false));
        Driver.Kick(0);
        Assert.Equal(0u, _high.WaitUsed().Length);
    }

    /// <summary>Puts a request into the queue as it is, with room for so much of a reply.</summary>
    public void Send(byte[] request, int room)
    {
        Assert.True(Memory.TryWrite(new Gpa(RequestAt), request));
        _queue.Add(room > 0 ? [new Buffer(RequestAt, (uint)request.Length, false), new Buffer(ReplyAt, (uint)room, true)] : [new Buffer(RequestAt, (uint)request.Length, false)]);
        Driver.Kick(1);
    }

    /// <summary>Waits for a reply to what was sent; returns its length.</summary>
    public uint WaitUsed() => _queue.WaitUsed().Length;

    public (int Error, ulong Node) TryLookup(ulong folder, string name)
    {
        (int error, byte[] entry) = Call(1, folder, Text(name));
        return (error, error == 0 ? Get64(entry, 0) : 0);
    }

    /// <summary>Looks a path up, from the shared folder down.</summary>
    public ulong Lookup(string path)
    {
        ulong node = Root;
        foreach (string name in path.Split('/'))
        {
            (int error, node) = TryLookup(node, name);
            Assert.Equal(0, error);
        }
        return node;
    }

    /// <summary>A file's attributes, as struct fuse_attr.</summary>
    public (int Error, byte[] Attributes) GetAttributes(ulong node, ulong? handle = null)
    {
        (int error, byte[] content) = Call(3, node, [.. U32(handle is null ? 0u : 1), .. U32(0), .. U64(handle ?? 0)]);
        return (error, error == 0 ? content[16..] : []);
    }

    public static uint Mode(byte[] attributes) => Get32(attributes, 60);

    public static ulong Length(byte[] attributes) => Get64(attributes, 8);

    /// <summary>struct fuse_setattr_in.</summary>
    public (int Error, byte[] Content) SetAttributes(ulong node, uint valid, ulong handle = 0, ulong length = 0, long modified = 0, uint mode = 0, uint user = 0, uint group = 0) =>
        Call(4, node, [.. U32(valid), .. U32(0), .. U64(handle), .. U64(length), .. U64(0), .. U64(0), .. U64((ulong)modified), .. U64(0), .. U32(0), .. U32(7), .. U32(0), .. U32(mode), .. U32(0), .. U32(user), .. U32(group), .. U32(0)]);

    public (int Error, ulong Handle, uint Flags) Open(ulong node, int flags, bool folder = false)
    {
        (int error, byte[] content) = Call(folder ? 27u : 14u, node, [.. U32((uint)flags), .. U32(0)]);
        return error == 0 ? (0, Get64(content, 0), Get32(content, 8)) : (error, 0, 0);
    }

    public (int Error, ulong Node, ulong Handle) Create(ulong folder, string name, uint mode = 0x1A4, int flags = ReadWriteFlag | CreateFlag)
    {
        (int error, byte[] content) = Call(35, folder, [.. U32((uint)flags), .. U32(0x8000 | mode), .. U32(0x12), .. U32(0), .. Text(name)]);
        return error == 0 ? (0, Get64(content, 0), Get64(content, 128)) : (error, 0, 0);
    }

    public (int Error, byte[] Data) Read(ulong handle, ulong offset, int length) =>
        Call(15, 0, [.. U64(handle), .. U64(offset), .. U32((uint)length), .. U32(0), .. U64(0), .. U32(0), .. U32(0)], length);

    public (int Error, uint Written) Write(ulong handle, ulong offset, byte[] data, int flags = 0, uint writeFlags = 0)
    {
        (int error, byte[] content) = Call(16, 0, [.. U64(handle), .. U64(offset), .. U32((uint)data.Length), .. U32(writeFlags), .. U64(0), .. U32((uint)flags), .. U32(0)], 8, data);
        return (error, error == 0 ? Get32(content, 0) : 0);
    }

    public int Release(ulong handle, bool folder = false) => Call(folder ? 29u : 18u, 0, [.. U64(handle), .. new byte[16]]).Error;

    public int MakeFolder(ulong folder, string name, uint mode = 0x1ED) => Call(9, folder, [.. U32(mode), .. U32(0), .. Text(name)]).Error;

    public int SymbolicLink(ulong folder, string name, string target) => Call(6, folder, [.. Text(name), .. Text(target)]).Error;

    public int Link(ulong node, ulong folder, string name) => Call(13, folder, [.. U64(node), .. Text(name)]).Error;

    public int Remove(ulong folder, string name, bool isFolder = false) => Call(isFolder ? 11u : 10u, folder, Text(name)).Error;

    public int Rename(ulong folder, string name, ulong newFolder, string newName, uint? flags = null) =>
        flags is { } given ? Call(45, folder, [.. U64(newFolder), .. U32(given), .. U32(0), .. Text(name), .. Text(newName)]).Error
            : Call(12, folder, [.. U64(newFolder), .. Text(name), .. Text(newName)]).Error;

    /// <summary>Lists a folder in pieces of so many bytes.</summary>
    public Dictionary<string, ulong> List(ulong handle, bool plus, int room)
    {
        Dictionary<string, ulong> names = [];
        ulong position = 0;
        while (true)
        {
            (int error, byte[] content) = Call(plus ? 44u : 28u, 0, [.. U64(handle), .. U64(position), .. U32((uint)room), .. U32(0), .. U64(0), .. U32(0), .. U32(0)], room);
            Assert.Equal(0, error);
            if (content.Length == 0)
                return names;
            for (int at = 0; at < content.Length;)
            {
                ulong node = plus ? Get64(content, at) : 0;
                at += plus ? 128 : 0;
                position = Get64(content, at + 8);
                int length = (int)Get32(content, at + 16);
                names.Add(Encoding.UTF8.GetString(content, at + 24, length), node);
                at += (24 + length + 7) & ~7;
            }
        }
    }
}
