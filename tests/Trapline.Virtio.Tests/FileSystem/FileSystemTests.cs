using System.Text;
using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;
using Trapline.Testing;
using static Trapline.Virtio.Tests.FileSystem.FuseDriver;

namespace Trapline.Virtio.Tests.FileSystem;

/// <summary>The file system device, as its driver sees it: every operation, and what the host's folder is like afterwards.</summary>
public sealed class FileSystemTests : IDisposable
{
    private const int PermissionMask = 0x1FF;

    private readonly TemporaryDirectory _folder = new();
    private readonly FuseDriver _fuse;

    public FileSystemTests() => _fuse = new FuseDriver(_folder.Path);

    public void Dispose()
    {
        _fuse.Dispose();
        _folder.Dispose();
    }

    private string Host(string path) => Path.Combine(_folder.Path, path);

    [Fact]
    public void TheConfigurationSpaceHasTheTagAndOneRequestQueue()
    {
        Assert.Equal((ulong)('t' | ('a' << 8) | ('g' << 16)), _fuse.Driver.Read(DriverFunction.DeviceConfig, 8));
        Assert.Equal(1ul, _fuse.Driver.Read(DriverFunction.DeviceConfig + 36, 4));
    }

    [Fact]
    public void InitAgreesOnTheVersionAndOnWhatBothKnow()
    {
        (int error, byte[] reply) = _fuse.Call(26, 0, [.. U32(7), .. U32(38), .. U32(1 << 30), .. U32(uint.MaxValue), .. new byte[48]]);
        Assert.Equal((0, 64), (error, reply.Length));
        Assert.Equal((7u, 31u), (Get32(reply, 0), Get32(reply, 4)));
        Assert.Equal(1u << 20, Get32(reply, 8)); // read-ahead, bounded
        Assert.Equal(0u, Get32(reply, 12) & (1 << 16)); // no write-back cache: what is written is on the host
        Assert.Equal(1u << 20, Get32(reply, 20));
        Assert.NotEqual(0, _fuse.Call(26, 0, [.. U32(7), .. U32(30), .. U32(0), .. U32(0)]).Error);
    }

    [Fact]
    public void AFileIsTheSameNodeByWhateverNameItIsFoundAndForgotten()
    {
        File.WriteAllText(Host("a"), "hello");
        ulong node = _fuse.Lookup("a");
        Assert.Equal(node, _fuse.Lookup("a"));
        Assert.Equal(0, _fuse.Link(node, Root, "b"));
        Assert.Equal(node, _fuse.Lookup("b"));
        (int error, byte[] attributes) = _fuse.GetAttributes(node);
        Assert.Equal((0, 5ul, 2u), (error, FuseDriver.Length(attributes), Get32(attributes, 64)));
        Assert.Equal((0u, 0u), (Get32(attributes, 68), Get32(attributes, 72))); // the guest's root
        Assert.Equal(1, _fuse.Device.Held.Nodes);
        _fuse.Tell(2, node, U64(3));
        Assert.Equal(1, _fuse.Device.Held.Nodes);
        _fuse.Tell(42, 0, [.. U32(2), .. U32(0), .. U64(node), .. U64(1), .. U64(99), .. U64(1)]);
        Assert.Equal(0, _fuse.Device.Held.Nodes);
        Assert.Equal(Stale, _fuse.GetAttributes(node).Error);
    }

    [Fact]
    public void DataGoesToTheFileAndBackHoweverItIsCut()
    {
        byte[] data = new byte[70_001];
        new Random(3).NextBytes(data);
        (int error, ulong node, ulong handle) = _fuse.Create(Root, "data", flags: ReadWriteFlag | CreateFlag | ExclusiveFlag);
        Assert.Equal(0, error);
        Assert.Equal((0, (uint)data.Length), _fuse.Write(handle, 11, data));
        Assert.Equal([.. new byte[11], .. data], File.ReadAllBytes(Host("data")));
        Assert.Equal(data[100..5000], _fuse.Read(handle, 111, 4900).Data);
        Assert.Equal(data[^7..], _fuse.Read(handle, 11 + (ulong)data.Length - 7, 4096).Data);
        Assert.Empty(_fuse.Read(handle, 1 << 20, 4096).Data);
        Assert.Equal(0, _fuse.Call(25, node, [.. U64(handle), .. new byte[16]]).Error); // flush
        Assert.Equal(0, _fuse.Call(20, node, [.. U64(handle), .. U32(1), .. U32(0)]).Error);
        Assert.Equal(0, _fuse.Release(handle));
        Assert.Equal(BadDescriptor, _fuse.Read(handle, 0, 10).Error);
        Assert.Equal(BadDescriptor, _fuse.Release(handle));
        Assert.Equal(Exists, _fuse.Create(Root, "data", flags: ReadWriteFlag | CreateFlag | ExclusiveFlag).Error);
        (_, ulong same, handle) = _fuse.Create(Root, "data", flags: ReadWriteFlag | CreateFlag | TruncateFlag);
        Assert.Equal(node, same);
        Assert.Empty(File.ReadAllBytes(Host("data")));
    }

    [Fact]
    public void WhatIsAppendedGoesToTheEndAlsoIfTheHostMadeTheFileLonger()
    {
        File.WriteAllText(Host("log"), "one ");
        (_, ulong handle, _) = _fuse.Open(_fuse.Lookup("log"), WriteOnlyFlag | AppendFlag);
        File.AppendAllText(Host("log"), "two ");
        Assert.Equal((0, 5u), _fuse.Write(handle, 4, "three"u8.ToArray(), AppendFlag));
        Assert.Equal("one two three", File.ReadAllText(Host("log")));
        Assert.Equal((0, 3u), _fuse.Write(handle, 0, "ONE"u8.ToArray(), AppendFlag, writeFlags: 1)); // written back from the cache
        Assert.Equal("ONE two three", File.ReadAllText(Host("log")));
    }

    [Theory]
    [InlineData(false, 4096)]
    [InlineData(true, 4096)]
    [InlineData(false, 300)]
    [InlineData(true, 65536)]
    public void AFolderIsListedInPieces(bool plus, int room)
    {
        Directory.CreateDirectory(Host("many"));
        for (int i = 0; i < 300; i++)
            File.WriteAllText(Host($"many/{new string('n', i % 200)}{i}"), "");
        (int error, ulong handle, _) = _fuse.Open(_fuse.Lookup("many"), 0, folder: true);
        Assert.Equal(0, error);
        Dictionary<string, ulong> names = _fuse.List(handle, plus, room);
        Assert.Equal([".", "..", .. Directory.GetFiles(Host("many")).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)], names.Keys.Order(StringComparer.Ordinal));
        Assert.All(names, n => Assert.Equal(!plus || n.Key is "." or "..", n.Value == 0));
        Assert.Equal(plus ? 301 : 1, _fuse.Device.Held.Nodes);
        if (plus)
            Assert.Equal(names["0"], _fuse.Lookup("many/0"));
        Assert.Equal(0, _fuse.Call(30, 0, [.. U64(handle), .. U64(0)]).Error);
        Assert.Equal(0, _fuse.Release(handle, folder: true));
    }

    [Fact]
    public void NamesAreMadeMovedAndRemoved()
    {
        Assert.Equal(0, _fuse.MakeFolder(Root, "d", 0x1FF));
        Assert.Equal(PermissionMask, (int)File.GetUnixFileMode(Host("d"))); // whatever the host's umask is
        ulong d = _fuse.Lookup("d");
        Assert.Equal(0, _fuse.Call(8, d, [.. U32(0x8000 | 0x1B6), .. U32(0), .. U32(0), .. U32(0), .. Text("file")]).Error);
        Assert.Equal(0x1B6, (int)File.GetUnixFileMode(Host("d/file")));
        ulong file = _fuse.Lookup("d/file");
        Assert.Equal(0, _fuse.SymbolicLink(d, "link", "/etc/passwd"));
        (int error, byte[] target) = _fuse.Call(5, _fuse.Lookup("d/link"), []);
        Assert.Equal((0, "/etc/passwd"), (error, Encoding.UTF8.GetString(target)));
        Assert.Equal(Invalid, _fuse.Call(5, file, []).Error);
        Assert.Equal(Exists, _fuse.MakeFolder(d, "link"));
        Assert.Equal(NotEmpty, _fuse.Remove(Root, "d", isFolder: true));
        Assert.Equal(0, _fuse.Rename(Root, "d", Root, "e"));
        Assert.Equal(0, _fuse.GetAttributes(file).Error); // known by where it is now
        (error, ulong handle, _) = _fuse.Open(file, WriteOnlyFlag);
        Assert.Equal((0, (0, 2u)), (error, _fuse.Write(handle, 0, "hi"u8.ToArray())));
        Assert.Equal("hi", File.ReadAllText(Host("e/file")));
        File.WriteAllText(Host("other"), "o");
        ulong other = _fuse.Lookup("other");
        Assert.Equal(Exists, _fuse.Rename(d, "file", Root, "other", flags: 1));
        Assert.Equal(0, _fuse.Rename(d, "file", Root, "other", flags: 2));
        Assert.Equal(("hi", "o"), (File.ReadAllText(Host("other")), File.ReadAllText(Host("e/file"))));
        Assert.Equal((file, other), (_fuse.Lookup("other"), _fuse.Lookup("e/file")));
        Assert.Equal(2ul, FuseDriver.Length(_fuse.GetAttributes(file).Attributes));
        Assert.Equal(Invalid, _fuse.Rename(d, "file", Root, "other", flags: 4)); // RENAME_WHITEOUT makes a device
        Assert.Equal(IsFolder, _fuse.Remove(Root, "e"));
        foreach (string name in (string[])["file", "link"])
            Assert.Equal(0, _fuse.Remove(d, name));
        Assert.Equal(0, _fuse.Remove(Root, "e", isFolder: true));
        Assert.Equal([Host("other")], Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void APathIsAsLongAsTheKernelTakesIt()
    {
        string name = new('n', 250);
        List<ulong> folders = [Root];
        while (_fuse.MakeFolder(folders[^1], name) == 0 && folders.Count < 100)
            folders.Add(_fuse.TryLookup(folders[^1], name).Node);
        Assert.Equal(4096 / 251, folders.Count - 1);
        Assert.Equal(NameTooLong, _fuse.MakeFolder(folders[^1], name));
        Assert.Equal(NameTooLong, _fuse.TryLookup(folders[^1], name).Error);
        for (int i = folders.Count - 2; i >= 0; i--)
            Assert.Equal(0, _fuse.Remove(folders[i], name, isFolder: true));
    }

    [Fact]
    public void AttributesAreSetAndOwnersStay()
    {
        File.WriteAllText(Host("a"), "0123456789");
        ulong node = _fuse.Lookup("a");
        Assert.Equal(0, _fuse.SetAttributes(node, 1 << 3, length: 4).Error);
        Assert.Equal("0123", File.ReadAllText(Host("a")));
        Assert.Equal(0, _fuse.SetAttributes(node, 1, mode: 0x8000 | 0x180).Error);
        Assert.Equal(0x180, (int)File.GetUnixFileMode(Host("a")));
        Assert.Equal(NotPermitted, _fuse.SetAttributes(node, 1, mode: 0x8000 | 0x9ED).Error); // set-user-ID
        Assert.Equal(0, _fuse.SetAttributes(node, 1 << 5, modified: 1_000_000_000).Error);
        Assert.Equal(DateTimeOffset.FromUnixTimeSeconds(1_000_000_000).UtcDateTime, File.GetLastWriteTimeUtc(Host("a")), TimeSpan.FromMilliseconds(1));
        Assert.Equal(0, _fuse.SetAttributes(node, 6, user: 0, group: 0).Error); // they are the guest's root's
        Assert.Equal(NotPermitted, _fuse.SetAttributes(node, 2, user: 1000).Error);
        Assert.Equal(NotPermitted, _fuse.SetAttributes(node, 4, group: 1000).Error);
        (_, _, ulong handle) = _fuse.Create(Root, "quiet", mode: 0x124); // read-only, and open for writing
        Assert.Equal(0, _fuse.SetAttributes(_fuse.Lookup("quiet"), (1 << 3) | (1 << 6), handle, length: 3).Error);
        Assert.Equal(3, new FileInfo(Host("quiet")).Length);
    }

    [Fact]
    public void AFileThatWasRemovedWhileOpenIsStillThere()
    {
        (_, ulong node, ulong handle) = _fuse.Create(Root, "gone");
        Assert.Equal(0, _fuse.Remove(Root, "gone"));
        Assert.Equal((0, 4u), _fuse.Write(handle, 0, "data"u8.ToArray()));
        Assert.Equal("data"u8, _fuse.Read(handle, 0, 100).Data);
        Assert.Equal(4ul, FuseDriver.Length(_fuse.GetAttributes(node).Attributes)); // without a handle, as fstat(2) asks
        Assert.Equal(0, _fuse.SetAttributes(node, 1 << 3, length: 1).Error);
        (_, ulong second, _) = _fuse.Create(Root, "gone");
        Assert.NotEqual(node, second);
        Assert.Equal(1ul, FuseDriver.Length(_fuse.GetAttributes(node, handle).Attributes));
        _fuse.Release(handle);
        Assert.Equal(Stale, _fuse.GetAttributes(node).Error);
    }

    [Fact]
    public void AFileThatTheHostReplacedIsAnotherOneAndACacheIsKeptOnlyWhileItIsRight()
    {
        const uint keepCache = 2;
        File.WriteAllText(Host("a"), "first");
        ulong node = _fuse.Lookup("a");
        _fuse.Open(node, 0);
        Assert.Equal(keepCache, _fuse.Open(node, 0).Flags & keepCache);
        File.WriteAllText(Host("a"), "longer than first");
        Assert.Equal(0u, _fuse.Open(node, 0).Flags & keepCache);
        Assert.Equal(keepCache, _fuse.Open(node, 0).Flags & keepCache);
        File.WriteAllText(Host("b"), "second");
        File.Move(Host("b"), Host("a"), overwrite: true);
        Assert.Equal(Stale, _fuse.Open(node, WriteOnlyFlag | TruncateFlag).Error);
        Assert.Equal("second", File.ReadAllText(Host("a")));
        Assert.NotEqual(node, _fuse.Lookup("a"));
    }

    [Fact]
    public void SpaceHolesAndAccess()
    {
        (_, ulong node, ulong handle) = _fuse.Create(Root, "sparse");
        Assert.Equal(0, _fuse.SetAttributes(node, 1 << 3, length: 1 << 20).Error);
        _fuse.Write(handle, 512 << 10, new byte[4096]);
        (int error, byte[] at) = _fuse.Call(46, node, [.. U64(handle), .. U64(0), .. U32(3), .. U32(0)]);
        Assert.True(error == 0 && Get64(at, 0) <= 512 << 10);
        Assert.Equal(Invalid, _fuse.Call(46, node, [.. U64(handle), .. U64(0), .. U32(0), .. U32(0)]).Error);
        Assert.Equal(0, _fuse.Call(43, node, [.. U64(handle), .. U64(1 << 20), .. U64(4096), .. U32(0), .. U32(0)]).Error);
        Assert.Equal((1 << 20) + 4096, new FileInfo(Host("sparse")).Length);
        Assert.Equal(95, _fuse.Call(43, node, [.. U64(handle), .. U64(0), .. U64(4096), .. U32(8), .. U32(0)]).Error); // collapsing a range
        (error, byte[] space) = _fuse.Call(17, Root, []);
        Assert.Equal((0, 80), (error, space.Length));
        Assert.True(Get64(space, 0) > 0 && Get32(space, 44) == 255);
        Assert.Equal(0, _fuse.Call(34, node, [.. U32(6), .. U32(0)]).Error);
    }

    [Fact]
    public void WhatIsNotServedSaysSo()
    {
        foreach (uint operation in (uint[])[21, 22, 23, 24, 31, 32, 33, 37, 39, 40, 41, 47, 48, 49, 50, 51, 999])
            Assert.Equal(NoSystemCall, _fuse.Call(operation, Root, new byte[64]).Error);
        _fuse.Tell(36, 0, U64(1)); // an interrupt, which has no reply
    }

    [Fact]
    public void AResetForgetsEverythingAlsoWhileRequestsAreUnderWay()
    {
        for (int i = 0; i < 20; i++)
            _fuse.Create(Root, "f" + i);
        Assert.Equal((20, 20), _fuse.Device.Held);
        byte[] request = [.. U32(56), .. U32(3), .. U64(5), .. U64(Root), .. new byte[16], .. new byte[16]];
        for (int i = 0; i < 8; i++)
            _fuse.Send(request, 200);
        _fuse.Driver.Reset();
        Assert.Equal(0, _fuse.Driver.Status);
        Assert.Equal((0, 0), _fuse.Device.Held);
    }

    [Fact]
    public void ReadingAndWritingAllocateNothing()
    {
        using BareServer bare = new(_folder.Path, 100, 100);
        File.WriteAllBytes(Host("data"), new byte[8192]);
        ulong node = Get64(bare.Call(1, Root, Text("data")).Content, 0), handle = Get64(bare.Call(14, node, [.. U32(2), .. U32(0)]).Content, 0);
        byte[] transfer = [.. U64(handle), .. U64(0), .. U32(4096), .. U32(0), .. U64(0), .. U32(0), .. U32(0)];
        foreach (bool writing in (bool[])[false, true])
        {
            (uint? Length, long Allocated) last = default;
            for (int i = 0; i < 200; i++)
            {
                bare.Prepare(writing ? 16u : 15u, node, transfer, writing ? 8 : 4096, writing ? 4096 : 0);
                last = bare.Serve();
            }
            Assert.Equal((writing ? 24u : 4112u, 0L), last);
        }
    }

    [Fact]
    public void ADeviceThatGoesOnFindsItsFilesByWhereTheyAre()
    {
        Directory.CreateDirectory(Host("d"));
        foreach (string name in (string[])["d/kept", "removed", "replaced"])
            File.WriteAllText(Host(name), name);
        File.WriteAllText(Host("last"), "");
        ulong kept = _fuse.Lookup("d/kept"), removed = _fuse.Lookup("removed"), replaced = _fuse.Lookup("replaced"), d = _fuse.Lookup("d");
        ulong handle = _fuse.Open(kept, ReadWriteFlag | TruncateFlag).Handle, lost = _fuse.Open(removed, 0).Handle, folder = _fuse.Open(Root, 0, folder: true).Handle;
        _fuse.Write(handle, 0, "kept"u8.ToArray());
        _fuse.Tell(2, d, U64(2)); // a folder that only what is in it needs
        Virtio.FileSystem.VirtioFileSystemState state = _fuse.Saved;
        File.Delete(Host("removed"));
        File.Delete(Host("replaced"));
        Directory.CreateDirectory(Host("replaced"));
        using FuseDriver next = new(_folder.Path, state: state);
        Assert.Equal("kept"u8, next.Read(handle, 0, 100).Data);
        Assert.Equal((0, 1u), next.Write(handle, 0, "K"u8.ToArray()));
        Assert.Equal(kept, next.TryLookup(next.Lookup("d"), "kept").Node);
        Assert.Equal(Stale, next.Read(lost, 0, 100).Error);
        Assert.Equal(Stale, next.GetAttributes(removed).Error);
        Assert.Equal(Stale, next.GetAttributes(replaced).Error);
        Assert.Contains("last", next.List(folder, plus: false, 4096).Keys);
        Assert.Equal(0, next.Release(lost));
        (_, ulong fresh, ulong another) = next.Create(Root, "new");
        Assert.True(fresh > replaced && another > folder);
        Assert.Equal("Kept", File.ReadAllText(Host("d/kept")));
    }

    [Fact]
    public void AnImpossibleStateIsRefused()
    {
        using GuestMemory memory = GuestMemory.Flat(1 << 20);
        Virtio.FileSystem.SharedNodeState good = new(5, 1, Text("a"), FileKind.Regular, 1);
        foreach (Virtio.FileSystem.SharedNodeState[] nodes in (Virtio.FileSystem.SharedNodeState[][])[[good with { Name = Text("..") }], [good with { Name = Text("a/b") }], [good with { Parent = 9 }], [good, good], [good with { Id = 1 }]])
        {
            using Virtio.FileSystem.VirtioFileSystem device = new("share", memory, "tag", ConfinedFolder.Open(_folder.Path, false), 1);
            Assert.Throws<ArgumentException>(() => ((ISavedDevice<Virtio.FileSystem.VirtioFileSystemState>)device).Restore(new(nodes, [])));
        }
    }
}
