using System.Diagnostics;
using System.Net.Sockets;
using Trapline.Host;
using Trapline.Testing;
using static Trapline.Virtio.Tests.FileSystem.FuseDriver;

namespace Trapline.Virtio.Tests.FileSystem;

/// <summary>A hostile guest and a shared folder: it does not get out, change what it may not, or use the host up.</summary>
public sealed class ConfinementTests : IDisposable
{
    private readonly TemporaryDirectory _outside = new();
    private readonly string _shared;

    public ConfinementTests()
    {
        _shared = Directory.CreateDirectory(_outside.File("shared")).FullName;
        File.WriteAllText(_outside.File("secret"), "secret");
        Directory.CreateDirectory(_outside.File("vault"));
    }

    public void Dispose() => _outside.Dispose();

    private string Host(string path) => Path.Combine(_shared, path);

    private void AssertOutsideIsAsItWas()
    {
        Assert.Equal("secret", File.ReadAllText(_outside.File("secret")));
        Assert.Empty(Directory.GetFileSystemEntries(_outside.File("vault")));
        Assert.Equal(["secret", "shared", "vault"], Directory.GetFileSystemEntries(_outside.Path).Select(e => Path.GetFileName(e)).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("..")]
    [InlineData(".")]
    [InlineData("")]
    [InlineData("../secret")]
    [InlineData("/etc/passwd")]
    [InlineData("d/../../secret")]
    [InlineData("d/file")]
    public void ANameIsOneComponent(string name)
    {
        Directory.CreateDirectory(Host("d"));
        File.WriteAllText(Host("d/file"), "f");
        using FuseDriver fuse = new(_shared);
        ulong d = fuse.Lookup("d"), file = fuse.Lookup("d/file");
        foreach (ulong folder in (ulong[])[Root, d])
        {
            Assert.Equal(Invalid, fuse.TryLookup(folder, name).Error);
            Assert.Equal(Invalid, fuse.Create(folder, name).Error);
            Assert.Equal(Invalid, fuse.MakeFolder(folder, name));
            Assert.Equal(Invalid, fuse.SymbolicLink(folder, name, "x"));
            Assert.Equal(Invalid, fuse.Link(file, folder, name));
            Assert.Equal(Invalid, fuse.Remove(folder, name));
            Assert.Equal(Invalid, fuse.Remove(folder, name, isFolder: true));
            Assert.Equal(Invalid, fuse.Rename(folder, name, d, "x"));
            Assert.Equal(Invalid, fuse.Rename(d, "file", folder, name));
        }
        Assert.Equal(NameTooLong, fuse.TryLookup(Root, new string('n', 300)).Error);
        AssertOutsideIsAsItWas();
    }

    [Theory]
    [InlineData("../secret")]
    [InlineData("/proc/self/exe")]
    public void ALinkIsReadAndNeverFollowed(string target)
    {
        using FuseDriver fuse = new(_shared);
        Assert.Equal(0, fuse.SymbolicLink(Root, "link", target));
        ulong link = fuse.Lookup("link");
        Assert.Equal(0xA000u, Mode(fuse.GetAttributes(link).Attributes) & 0xF000);
        Assert.Equal(Stale, fuse.Open(link, ReadWriteFlag).Error); // upon which the guest looks again, and sees a link
        Assert.Equal(Stale, fuse.Open(link, WriteOnlyFlag | TruncateFlag).Error);
        Assert.NotEqual(0, fuse.Create(Root, "link").Error);
        Assert.NotEqual(0, fuse.SetAttributes(link, 1 << 3, length: 0).Error);
        fuse.SetAttributes(link, 1, mode: 0xA000);
        Assert.Equal(TooManyLinks, fuse.TryLookup(link, "x").Error);
        AssertOutsideIsAsItWas();
        Assert.NotEqual(0, (int)File.GetUnixFileMode(_outside.File("secret")));
    }

    [Theory]
    [InlineData("../vault")]
    [InlineData("..")]
    public void AFolderThatBecameALinkLeadsNowhere(string target)
    {
        Directory.CreateDirectory(Host("d/deep"));
        File.WriteAllText(Host("d/file"), "f");
        File.WriteAllText(Host("mine"), "m");
        using FuseDriver fuse = new(_shared);
        ulong d = fuse.Lookup("d"), deep = fuse.Lookup("d/deep"), file = fuse.Lookup("d/file"), mine = fuse.Lookup("mine");
        Directory.Move(Host("d"), Host("was"));
        Directory.CreateSymbolicLink(Host("d"), target);
        foreach (ulong folder in (ulong[])[d, deep])
        {
            Assert.NotEqual(0, fuse.Create(folder, "x").Error);
            Assert.NotEqual(0, fuse.MakeFolder(folder, "x"));
            Assert.NotEqual(0, fuse.SymbolicLink(folder, "x", "y"));
            Assert.NotEqual(0, fuse.Link(mine, folder, "x"));
            Assert.NotEqual(0, fuse.Rename(Root, "mine", folder, "x"));
            Assert.NotEqual(0, fuse.Rename(folder, "secret", Root, "x"));
            Assert.NotEqual(0, fuse.Remove(folder, "secret"));
            Assert.NotEqual(0, fuse.Remove(folder, "vault", isFolder: true));
            Assert.NotEqual(0, fuse.TryLookup(folder, "secret").Error);
            Assert.NotEqual(0, fuse.Open(folder, 0, folder: true).Error);
        }
        Assert.Equal(Stale, fuse.Open(file, ReadWriteFlag).Error);
        AssertOutsideIsAsItWas();
    }

    [Fact]
    public void WhoeverSwapsAFolderForALinkAgainAndAgainGainsNothing()
    {
        Directory.CreateDirectory(Host("d"));
        using FuseDriver fuse = new(_shared);
        ulong d = fuse.Lookup("d");
        using CancellationTokenSource done = new();
        Thread swapper = new(() =>
        {
            Directory.CreateSymbolicLink(Host("other"), "../vault");
            while (!done.IsCancellationRequested)
                ExchangeNames("d", "other");
        });
        swapper.Start();
        int made = 0;
        for (Stopwatch time = Stopwatch.StartNew(); time.Elapsed.TotalSeconds < 1 || made < 20;)
        {
            if (time.Elapsed.TotalSeconds > 20)
                break;
            (int error, _, ulong handle) = fuse.Create(d, "x");
            if (error == 0)
            {
                made++;
                fuse.Release(handle);
                fuse.Remove(d, "x");
            }
            fuse.MakeFolder(d, "y");
            fuse.Remove(d, "y", isFolder: true);
        }
        done.Cancel();
        swapper.Join();
        Assert.True(made > 0);
        AssertOutsideIsAsItWas();

        // By a share of its own, as another guest would.
        void ExchangeNames(string one, string two)
        {
            using ConfinedFolder folder = ConfinedFolder.Open(_shared, readOnly: false);
            for (int i = 0; i < 100; i++)
                folder.Rename(ConfinedFolder.Self, Text(one), ConfinedFolder.Self, Text(two), 2, out _, out _);
        }
    }

    [Fact]
    public void PipesSocketsAndDevicesAreSeenAndNeverOpenedOrMade()
    {
        using (Process mkfifo = Process.Start("mkfifo", Host("pipe")))
            mkfifo.WaitForExit();
        using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(Host("socket")));
        using FuseDriver fuse = new(_shared);
        foreach (string name in (string[])["pipe", "socket"])
        {
            ulong node = fuse.Lookup(name);
            Assert.Equal(0, fuse.GetAttributes(node).Error);
            Assert.Equal(NotPermitted, fuse.Open(node, ReadOnlyFlag).Error);
            Assert.Equal(NotPermitted, fuse.Open(node, ReadWriteFlag).Error);
            Assert.Equal(NotPermitted, fuse.Create(Root, name).Error);
        }
        foreach (uint kind in (uint[])[0x1000, 0x2000, 0x4000, 0x6000, 0xA000, 0xC000])
            Assert.Equal(NotPermitted, fuse.Call(8, Root, [.. U32(kind | 0x1FF), .. U32(0x103), .. U32(0), .. U32(0), .. Text("new")]).Error);
        Assert.Equal(0, fuse.Remove(Root, "pipe"));
        Assert.Equal([Host("socket")], Directory.GetFileSystemEntries(_shared));
    }

    [Fact]
    public void OtherFileSystemsInTheFolderAreNotEntered()
    {
        using ConfinedFolder root = ConfinedFolder.Open("/", readOnly: true);
        Assert.Equal(OtherDevice, root.Describe("proc/self/mem\0"u8, out _));
        Assert.Equal(OtherDevice, root.Describe("proc\0"u8, out _));
        Assert.Equal(0, root.OpenListing(ConfinedFolder.Self, null, out ConfinedListing? listing, out _));
        using (listing)
            Assert.Equal(OtherDevice, listing!.Describe("proc\0"u8, out _));
        Assert.Equal(OtherDevice, root.Describe("etc/../../proc\0"u8, out _)); // not above, and not across
    }

    [Fact]
    public void AReadOnlyShareIsReadOnlyWhateverTheGuestDoes()
    {
        File.WriteAllText(Host("file"), "content");
        Directory.CreateDirectory(Host("d"));
        using FuseDriver fuse = new(_shared, readOnly: true);
        ulong file = fuse.Lookup("file");
        foreach (int flags in (int[])[WriteOnlyFlag, ReadWriteFlag, ReadOnlyFlag | TruncateFlag])
            Assert.Equal(ReadOnly, fuse.Open(file, flags).Error);
        (int error, ulong handle, _) = fuse.Open(file, ReadOnlyFlag);
        Assert.Equal(0, error);
        Assert.Equal("content"u8, fuse.Read(handle, 0, 100).Data);
        Assert.Equal(BadDescriptor, fuse.Write(handle, 0, "x"u8.ToArray()).Error);
        Assert.Equal(ReadOnly, fuse.SetAttributes(file, 1 << 3, length: 0).Error);
        Assert.Equal(ReadOnly, fuse.SetAttributes(file, (1 << 3) | (1 << 6), handle, length: 0).Error);
        Assert.Equal(ReadOnly, fuse.SetAttributes(file, 1, mode: 0x81FF).Error);
        Assert.Equal(ReadOnly, fuse.SetAttributes(file, 1 << 5, modified: 1).Error);
        Assert.Equal(ReadOnly, fuse.Call(43, file, [.. U64(handle), .. U64(0), .. U64(1 << 20), .. U32(0), .. U32(0)]).Error);
        Assert.Equal(ReadOnly, fuse.Create(Root, "new").Error);
        Assert.Equal(ReadOnly, fuse.Create(Root, "file").Error);
        Assert.Equal(ReadOnly, fuse.Call(8, Root, [.. U32(0x81A4), .. U32(0), .. U32(0), .. U32(0), .. Text("new")]).Error);
        Assert.Equal(ReadOnly, fuse.MakeFolder(Root, "new"));
        Assert.Equal(ReadOnly, fuse.SymbolicLink(Root, "new", "file"));
        Assert.Equal(ReadOnly, fuse.Link(file, Root, "new"));
        Assert.Equal(ReadOnly, fuse.Rename(Root, "file", Root, "new"));
        Assert.Equal(ReadOnly, fuse.Remove(Root, "file"));
        Assert.Equal(ReadOnly, fuse.Remove(Root, "d", isFolder: true));
        Assert.Equal(ReadOnly, fuse.Call(34, file, [.. U32(2), .. U32(0)]).Error);
        Assert.Equal("content", File.ReadAllText(Host("file")));
        Assert.Equal(2, Directory.GetFileSystemEntries(_shared).Length);
    }

    [Fact]
    public void AGuestHasOnlySoManyFilesOpen()
    {
        File.WriteAllText(Host("file"), "");
        using BareServer bare = new(_shared, 100, 50);
        ulong file = Get64(bare.Call(1, Root, Text("file")).Content, 0);
        byte[] open = [.. U32(0), .. U32(0)];
        for (int i = 0; i < 50; i++)
            Assert.Equal(0, bare.Call(i % 2 == 0 ? 14u : 27u, i % 2 == 0 ? file : Root, open).Error);
        Assert.Equal(TooManyOpen, bare.Call(14, file, open).Error);
        Assert.Equal(TooManyOpen, bare.Call(27, Root, open).Error);
        Assert.Equal(TooManyOpen, bare.Call(35, Root, [.. U32(0x42), .. U32(0x81A4), .. U32(0), .. U32(0), .. Text("more")]).Error);
        Assert.False(File.Exists(Host("more")));
        Assert.Equal(0, bare.Call(18, 0, [.. U64(1), .. new byte[16]]).Error);
        Assert.Equal(0, bare.Call(14, file, open).Error);
        Assert.Equal((1, 50), bare.Server.Held);
        Assert.Equal(0, bare.Call(38, 0, []).Error); // the guest unmounts
        Assert.Equal((0, 0), bare.Server.Held);
    }

    [Fact]
    public void AGuestThatForgetsNothingIsToldThatItKnowsTooMuch()
    {
        using BareServer bare = new(_shared, 100, 50);
        for (int i = 0; i < 101; i++)
        {
            Assert.Equal(i < 100 ? 0 : TooManyOpen, bare.Call(9, Root, [.. U32(0x1ED), .. U32(0), .. Text("x")]).Error);
            Assert.Equal(0, bare.Call(11, Root, Text("x")).Error);
        }
        Assert.Equal(100, bare.Server.Held.Nodes);
        Assert.Empty(Directory.GetFileSystemEntries(_shared));
    }

    [Fact]
    public void NumbersThatNobodyGaveAreRefused()
    {
        Directory.CreateDirectory(Host("d"));
        using FuseDriver fuse = new(_shared);
        ulong d = fuse.Lookup("d"), folder = fuse.Open(d, 0, folder: true).Handle;
        foreach (ulong node in (ulong[])[0, 999, ulong.MaxValue])
        {
            Assert.Equal(Stale, fuse.GetAttributes(node).Error);
            Assert.Equal(Stale, fuse.TryLookup(node, "d").Error);
            Assert.Equal(Stale, fuse.Create(node, "x").Error);
            Assert.Equal(Stale, fuse.Rename(Root, "d", node, "x"));
            Assert.Equal(Stale, fuse.Link(node, Root, "x"));
            Assert.Equal(Stale, fuse.Open(node, 0).Error);
            Assert.Equal(BadDescriptor, fuse.Read(node, 0, 10).Error);
        }
        Assert.Equal(BadDescriptor, fuse.Read(folder, 0, 10).Error); // a folder is no file
        Assert.Equal(IsFolder, fuse.Open(d, ReadWriteFlag).Error);
        fuse.Tell(2, 1, U64(ulong.MaxValue)); // the shared folder cannot be forgotten
        Assert.Equal(0, fuse.GetAttributes(Root).Error);
        Assert.Equal(Invalid, fuse.Read(folder, ulong.MaxValue, 10).Error);
    }

    [Fact]
    public void ARequestThatIsCutShortIsRefused()
    {
        using FuseDriver fuse = new(_shared);
        foreach (uint operation in (uint[])[1, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25, 26, 27, 28, 29, 30, 34, 35, 43, 44, 45, 46])
        {
            Assert.NotEqual(0, fuse.Call(operation, Root, []).Error);
            if (operation is not (3 or 26 or 27)) // whose arguments these may be
                Assert.NotEqual(0, fuse.Call(operation, Root, [.. "nothing ends this name"u8]).Error);
        }
        Assert.Empty(Directory.GetFileSystemEntries(_shared));
        foreach (uint says in (uint[])[0, 39, 57, uint.MaxValue])
        {
            fuse.Send([.. U32(says), .. U32(3), .. U64(1), .. U64(Root), .. new byte[32]], 200);
            Assert.Equal(16u, fuse.WaitUsed());
        }
        (_, _, ulong handle) = fuse.Create(Root, "file");
        Assert.Equal(Invalid, fuse.Call(16, 0, [.. U64(handle), .. U64(0), .. U32(5000), .. U32(0), .. U64(0), .. U32(0), .. U32(0)], 8, new byte[100]).Error);
        Assert.Equal(Invalid, fuse.Call(1, Root, Text("file"), room: 100).Error); // no room for what it asks for
    }

    [Fact]
    public void WhatHasNoHeadBreaksTheDeviceUntilItIsReset()
    {
        using FuseDriver fuse = new(_shared);
        foreach (int room in (int[])[0, 15]) // no room for an answer: nothing is done
        {
            fuse.Send([.. U32(50), .. U32(9), .. U64(1), .. U64(Root), .. new byte[24], .. Text("x")], room);
            Assert.Equal(0u, fuse.WaitUsed());
        }
        Assert.Empty(Directory.GetFileSystemEntries(_shared));
        fuse.Send(new byte[39], 200);
        Assert.True(SpinWait.SpinUntil(() => (fuse.Driver.Status & 64) != 0, 5000));
        fuse.Driver.Reset();
        Assert.Equal(0, fuse.Driver.Status);
    }

    [Theory]
    [InlineData("missing", "does not exist")]
    [InlineData("file", "not a folder")]
    public void WhatIsNoFolderIsNotShared(string name, string why)
    {
        File.WriteAllText(Host("file"), "");
        Assert.Contains(why, Assert.Throws<IOException>(() => ConfinedFolder.Open(Host(name), readOnly: false)).Message);
    }
}
