using System.Runtime.InteropServices;
using Trapline.Host;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.FileSystem.Fuse;

/// <summary>Serves a folder of the host by FUSE 7.31 (include/uapi/linux/fuse.h): one call for each request, from any number of workers.</summary>
/// <remarks>
/// The guest knows files by node numbers and has them open by handles; both are looked up in tables here, and a number that is in neither is refused.
/// Files are found by path whenever something is done to them (<see cref="Node"/>), under a lock that renaming takes exclusively, so that a path is
/// true while it is used. A file that is not the one that the guest knows is ESTALE, upon which its kernel looks the name up again.
/// </remarks>
internal sealed partial class FuseServer : IDisposable
{
    private const uint Major = 7, Minor = 31;

    /// <summary>Longest transfer in a request, and in pages.</summary>
    private const uint MostBytes = 1 << 20, MostPages = MostBytes >> 12;
    private const ushort MostBackground = 64;

    private const uint AsyncRead = 1 << 0, AtomicTruncation = 1 << 3, BigWrites = 1 << 5, InvalidateByTime = 1 << 12, FolderPlus = 1 << 13, FolderPlusAuto = 1 << 14,
        ParallelFolders = 1 << 18, PagesLimit = 1 << 22;

    /// <summary>For so many seconds the guest need not ask again what a name leads to, and what is known of a file.</summary>
    private const ulong ValidSeconds = 1;

    /// <summary>Who owns what belongs to neither the host's user nor to somebody with a number of his own: "nobody".</summary>
    private const uint Nobody = 65534;

    private readonly ConfinedFolder _folder;
    private readonly NodeTable _nodes;
    private readonly HandleTable _handles;
    private readonly ReaderWriterLockSlim _paths = new();
    private readonly (uint User, uint Group) _owner = ConfinedFolder.Owner;

    /// <param name="folder">Disposed with the server.</param>
    /// <param name="mostNodes">How many files the guest may know at once.</param>
    /// <param name="mostHandles">How many it may have open.</param>
    public FuseServer(ConfinedFolder folder, int mostNodes, int mostHandles) =>
        (_folder, _nodes, _handles) = (folder, new NodeTable(mostNodes), new HandleTable(mostHandles));

    /// <summary>How many files the guest knows, and has open.</summary>
    public (int Nodes, int Handles) Held => (_nodes.Count, _handles.Count);

    /// <summary>Serves the request in an exchange's chain.</summary>
    /// <returns>Bytes written of the reply; null if this is no request.</returns>
    public uint? Serve(FuseExchange exchange)
    {
        if (!exchange.TryBegin())
            return null;
        switch (exchange.Header.Operation)
        {
            case FuseOperation.Forget:
                Forget(exchange);
                return 0;
            case FuseOperation.BatchForget:
                ForgetBatch(exchange);
                return 0;
            case FuseOperation.Interrupt:
                return 0; // requests end soon by themselves
        }
        if (exchange.Chain.WritableLength < FuseReplyHeader.Size)
            return 0; // nobody to tell, so nothing is done
        int error;
        try
        {
            error = exchange.HasItsLength ? Do(exchange) : LinuxError.InvalidArgument;
        }
        catch (ObjectDisposedException)
        {
            error = LinuxError.BadDescriptor; // closed by another request of the guest's
        }
        catch (IOException)
        {
            error = LinuxError.InputOutput; // the request's memory is gone
        }
        return exchange.End(error);
    }

    private int Do(FuseExchange exchange) => exchange.Header.Operation switch
    {
        FuseOperation.Lookup => Lookup(exchange),
        FuseOperation.GetAttributes => GetAttributes(exchange),
        FuseOperation.SetAttributes => SetAttributes(exchange),
        FuseOperation.ReadLink => ReadLink(exchange),
        FuseOperation.SymbolicLink => MakeSymbolicLink(exchange),
        FuseOperation.MakeNode => MakeNode(exchange),
        FuseOperation.MakeFolder => MakeFolder(exchange),
        FuseOperation.Unlink => Remove(exchange, isFolder: false),
        FuseOperation.RemoveFolder => Remove(exchange, isFolder: true),
        FuseOperation.Rename => Rename(exchange, withFlags: false),
        FuseOperation.Rename2 => Rename(exchange, withFlags: true),
        FuseOperation.Link => Link(exchange),
        FuseOperation.Open => Open(exchange),
        FuseOperation.Create => Create(exchange),
        FuseOperation.Read => Read(exchange),
        FuseOperation.Write => Write(exchange),
        FuseOperation.StatFs => StatFs(exchange),
        FuseOperation.Release or FuseOperation.ReleaseFolder => Release(exchange),
        FuseOperation.Sync or FuseOperation.SyncFolder => Sync(exchange),
        FuseOperation.Flush => Flush(exchange),
        FuseOperation.Init => Init(exchange),
        FuseOperation.OpenFolder => OpenFolder(exchange),
        FuseOperation.ReadFolder => ReadFolder(exchange, plus: false),
        FuseOperation.ReadFolderPlus => ReadFolder(exchange, plus: true),
        FuseOperation.Access => CheckAccess(exchange),
        FuseOperation.Destroy => Destroy(),
        FuseOperation.Allocate => Allocate(exchange),
        FuseOperation.Seek => Seek(exchange),
        _ => LinuxError.NoSystemCall, // the kernel does without, or refuses its program
    };

    private int Init(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseInit wanted))
            return LinuxError.InvalidArgument;
        // virtio-fs came to Linux with 7.31; a newer major version asks again with ours.
        if (wanted.Major < Major || (wanted.Major == Major && wanted.Minor < Minor))
            return LinuxError.NotSupported;
        Clear();
        uint flags = wanted.Flags & (AsyncRead | AtomicTruncation | BigWrites | InvalidateByTime | FolderPlus | FolderPlusAuto | ParallelFolders | PagesLimit);
        FuseInitReply reply = new(
            Major, Minor, Math.Min(wanted.ReadAhead, MostBytes), flags, MostBackground, MostBackground * 3 / 4, MostBytes, TimeGranularity: 1, (ushort)MostPages, MapAlignment: 0, 0, 0, 0, 0);
        return Answered(exchange.Answer(reply));
    }

    private int Destroy()
    {
        Clear();
        return LinuxError.None;
    }

    private int StatFs(FuseExchange exchange)
    {
        int error = _folder.DescribeSpace(out FileSystemFacts facts);
        if (error != LinuxError.None)
            return error;
        FuseSpace space = new(facts.Blocks, facts.Free, facts.Available, facts.Files, facts.FreeFiles, facts.BlockSize, facts.NameLength, facts.FragmentSize, 0, 0, 0, 0);
        return Answered(exchange.Answer(space));
    }

    private void Forget(FuseExchange exchange)
    {
        if (exchange.TryTake(out ulong lookups))
            _nodes.Forget(exchange.Header.Node, lookups);
    }

    /// <summary>Longer than arguments are: from the chain, one after the other.</summary>
    private void ForgetBatch(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseBatchForget batch))
            return;
        Span<byte> one = stackalloc byte[FuseForgetOne.Size];
        ChainCursor reader = exchange.Chain.Reader;
        reader.Skip(FuseRequestHeader.Size + FuseBatchForget.Size);
        for (uint i = 0; i < batch.Count && reader.Read(one) == one.Length; i++)
        {
            FuseForgetOne forget = MemoryMarshal.Read<FuseForgetOne>(one);
            _nodes.Forget(forget.Node, forget.Lookups);
        }
    }

    private static int Answered(bool hadRoom) => hadRoom ? LinuxError.None : LinuxError.InvalidArgument;

    /// <summary>The guest forgets everything. No request is under way, or its kernel does not care for them any more.</summary>
    public void Clear()
    {
        _handles.Clear();
        _nodes.Clear();
    }

    /// <summary>What the guest knows and has open. No request is under way.</summary>
    public (SharedNodeState[] Nodes, SharedHandleState[] Handles) Save() => (_nodes.Save(), _handles.Save());

    /// <summary>Goes on with what the guest of another server knows and has open, by where it is; <see cref="Reopen"/> must follow.</summary>
    /// <exception cref="ArgumentException">It is impossible.</exception>
    public void Restore(IReadOnlyList<SharedNodeState> nodes, IReadOnlyList<SharedHandleState> handles)
    {
        if (handles.Count > _handles.Most)
            throw new ArgumentException($"{handles.Count} open files, and there may be {_handles.Most}");
        Clear();
        _nodes.Restore(nodes);
    }

    /// <summary>Looks up the files that the guest knows and opens what it has open.</summary>
    public void Reopen(IReadOnlyList<SharedHandleState> handles)
    {
        _nodes.Bind(_folder);
        byte[] path = new byte[FuseExchange.LongestPath];
        _handles.Reopen(handles, state =>
        {
            ConfinedFile? file = null;
            ConfinedListing? listing = null;
            Node node = _nodes.Find(state.Node) ?? new Node(state.Node, null, [], FileKind.Regular) { Identity = Node.Lost };
            ReadOnlySpan<byte> place = _nodes.PathOf(node, default, path);
            if (state.IsFolder)
                _folder.OpenListing(place, node.Identity, out listing, out _);
            else
                _folder.OpenFile(place, state.Flags & ~OpenTruncate, node.Identity, out file, out _);
            return new OpenHandle(node, state.Flags, state.IsFolder, file, listing);
        });
    }

    public void Dispose()
    {
        Clear();
        _paths.Dispose();
        _folder.Dispose();
    }
}
