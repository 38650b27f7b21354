using Trapline.Host;

namespace Trapline.Virtio.FileSystem.Fuse;

// Names in folders: looking them up, making, changing and removing them.
internal sealed partial class FuseServer
{
    private const uint KindMask = FileFacts.KindMask;

    private int Lookup(FuseExchange exchange)
    {
        if (!exchange.TryTakeText(out ReadOnlySpan<byte> name) || _nodes.Find(exchange.Header.Node) is not { } parent)
            return LinuxError.Stale;
        if (!ConfinedFolder.IsName(name))
            return WrongName(name);
        int error;
        FileFacts facts;
        _paths.EnterReadLock();
        try
        {
            error = _folder.Describe(_nodes.PathOf(parent, name, exchange.Path), out facts);
            if (error == LinuxError.None)
                return Tell(exchange, parent, name, facts, isNew: false);
        }
        finally
        {
            _paths.ExitReadLock();
        }
        return error;
    }

    /// <summary>The guest learns of a file.</summary>
    private int Tell(FuseExchange exchange, Node parent, ReadOnlySpan<byte> name, in FileFacts facts, bool isNew)
    {
        if (exchange.Room < FuseEntry.Size)
            return LinuxError.InvalidArgument;
        if (_nodes.Remember(parent, name, facts, isNew) is not { } node)
            return LinuxError.TooManyOpen;
        return Answered(exchange.Answer(Entry(node, facts)));
    }

    /// <summary>The path of a folder in which a name is to be made; empty if the name would be too far down to be found again.</summary>
    private ReadOnlySpan<byte> FolderFor(Node folder, ReadOnlySpan<byte> name, Span<byte> buffer) =>
        _nodes.PathOf(folder, name, buffer).IsEmpty ? default : _nodes.PathOf(folder, default, buffer);

    private FuseEntry Entry(Node node, in FileFacts facts) => new(node.Id, 0, ValidSeconds, ValidSeconds, 0, 0, Attributes(facts));

    private static int WrongName(ReadOnlySpan<byte> name) => name.Length > 256 ? LinuxError.NameTooLong : LinuxError.InvalidArgument;

    private int MakeNode(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseMakeNode asked) || !exchange.TryTakeText(out ReadOnlySpan<byte> name) || _nodes.Find(exchange.Header.Node) is not { } parent)
            return LinuxError.Stale;
        if (_folder.IsReadOnly)
            return LinuxError.ReadOnly;
        // Devices, pipes and sockets of the guest's are no business of the host's.
        if ((asked.Mode & KindMask) is not (0 or (uint)FileKind.Regular))
            return LinuxError.NotPermitted;
        _paths.EnterReadLock();
        try
        {
            int error = _folder.CreateFile(
                FolderFor(parent, name, exchange.Path), name, 0, (ushort)(asked.Mode & FileFacts.ModeMask), exclusive: true, out ConfinedFile? file, out FileFacts facts, out _);
            file?.Dispose();
            return error != LinuxError.None ? error : Tell(exchange, parent, name, facts, isNew: true);
        }
        finally
        {
            _paths.ExitReadLock();
        }
    }

    private int MakeFolder(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseMakeFolder asked) || !exchange.TryTakeText(out ReadOnlySpan<byte> name) || _nodes.Find(exchange.Header.Node) is not { } parent)
            return LinuxError.Stale;
        _paths.EnterReadLock();
        try
        {
            int error = _folder.MakeFolder(FolderFor(parent, name, exchange.Path), name, (ushort)(asked.Mode & FileFacts.ModeMask), out FileFacts facts);
            return error != LinuxError.None ? error : Tell(exchange, parent, name, facts, isNew: true);
        }
        finally
        {
            _paths.ExitReadLock();
        }
    }

    private int MakeSymbolicLink(FuseExchange exchange)
    {
        if (!exchange.TryTakeText(out ReadOnlySpan<byte> name) || !exchange.TryTakeText(out ReadOnlySpan<byte> target) || _nodes.Find(exchange.Header.Node) is not { } parent)
            return LinuxError.Stale;
        _paths.EnterReadLock();
        try
        {
            int error = _folder.MakeSymbolicLink(FolderFor(parent, name, exchange.Path), name, target, out FileFacts facts);
            return error != LinuxError.None ? error : Tell(exchange, parent, name, facts, isNew: true);
        }
        finally
        {
            _paths.ExitReadLock();
        }
    }

    private int Link(FuseExchange exchange)
    {
        if (!exchange.TryTake(out ulong id) || !exchange.TryTakeText(out ReadOnlySpan<byte> name) || _nodes.Find(exchange.Header.Node) is not { } parent
            || _nodes.Find(id) is not { } node)
            return LinuxError.Stale;
        _paths.EnterReadLock();
        try
        {
            int error = _folder.MakeHardLink(
                _nodes.PathOf(node, default, exchange.OtherPath), node.Identity, FolderFor(parent, name, exchange.Path), name, out FileFacts facts);
            return error != LinuxError.None ? error : Tell(exchange, parent, name, facts, isNew: false);
        }
        finally
        {
            _paths.ExitReadLock();
        }
    }

    private int ReadLink(FuseExchange exchange)
    {
        if (_nodes.Find(exchange.Header.Node) is not { } node)
            return LinuxError.Stale;
        int error;
        int length;
        _paths.EnterReadLock();
        try
        {
            error = _folder.ReadLink(_nodes.PathOf(node, default, exchange.Path), exchange.Scratch[..(FuseExchange.LongestPath - 1)], out length);
        }
        finally
        {
            _paths.ExitReadLock();
        }
        return error == LinuxError.None ? Answered(exchange.Answer(exchange.Scratch[..length])) : IsElsewhere(error) ? LinuxError.Stale : error;
    }

    private int Remove(FuseExchange exchange, bool isFolder)
    {
        if (!exchange.TryTakeText(out ReadOnlySpan<byte> name) || _nodes.Find(exchange.Header.Node) is not { } parent)
            return LinuxError.Stale;
        _paths.EnterReadLock();
        try
        {
            return _folder.Remove(_nodes.PathOf(parent, default, exchange.Path), name, isFolder);
        }
        finally
        {
            _paths.ExitReadLock();
        }
    }

    private int Rename(FuseExchange exchange, bool withFlags)
    {
        FuseRename2 asked;
        if (!withFlags)
            asked = exchange.TryTake(out ulong id) ? new FuseRename2(id, 0, 0) : default;
        else if (!exchange.TryTake(out asked))
            return LinuxError.InvalidArgument;
        if (!exchange.TryTakeText(out ReadOnlySpan<byte> name) || !exchange.TryTakeText(out ReadOnlySpan<byte> newName)
            || _nodes.Find(exchange.Header.Node) is not { } from || _nodes.Find(asked.NewFolder) is not { } to)
            return LinuxError.Stale;
        _paths.EnterWriteLock();
        try
        {
            int error = _folder.Rename(
                _nodes.PathOf(from, default, exchange.Path), name, FolderFor(to, newName, exchange.OtherPath), newName, asked.Flags, out FileIdentity moved, out FileIdentity exchanged);
            if (error != LinuxError.None)
                return error;
            _nodes.Move(moved, to, newName);
            if (exchanged != Node.Lost)
                _nodes.Move(exchanged, from, name);
            return LinuxError.None;
        }
        finally
        {
            _paths.ExitWriteLock();
        }
    }
}
