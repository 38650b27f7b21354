using Trapline.Host;

namespace Trapline.Virtio.FileSystem.Fuse;

// Open files.
internal sealed partial class FuseServer
{
    // Linux's bits of open(2).
    private const int OpenAccessMask = 3, OpenReadOnly = 0, OpenExclusive = 0x80, OpenTruncate = 0x200, OpenAppend = 0x400;

    private int Open(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseOpen asked))
            return LinuxError.InvalidArgument;
        if (_nodes.Find(exchange.Header.Node) is not { } node)
            return LinuxError.Stale;
        if (!_handles.HasRoom)
            return LinuxError.TooManyOpen;
        ConfinedFile? file;
        FileFacts facts;
        int error;
        _paths.EnterReadLock();
        try
        {
            error = _folder.OpenFile(_nodes.PathOf(node, default, exchange.Path), (int)asked.Flags, node.Identity, out file, out facts);
        }
        finally
        {
            _paths.ExitReadLock();
        }
        if (error != LinuxError.None)
            return IsElsewhere(error) ? LinuxError.Stale : error;
        return Hand(exchange, new OpenHandle(node, (int)asked.Flags, IsFolder: false, file, null), _nodes.NoteOpened(node, FileVersion.Of(facts)));
    }

    private int Create(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseCreate asked) || !exchange.TryTakeText(out ReadOnlySpan<byte> name) || _nodes.Find(exchange.Header.Node) is not { } parent)
            return LinuxError.Stale;
        if (!_handles.HasRoom)
            return LinuxError.TooManyOpen;
        ConfinedFile? file;
        FileFacts facts;
        Node? node;
        _paths.EnterReadLock();
        try
        {
            int error = _folder.CreateFile(
                FolderFor(parent, name, exchange.Path), name, (int)asked.Flags, (ushort)(asked.Mode & FileFacts.ModeMask), (asked.Flags & OpenExclusive) != 0, out file, out facts, out bool isNew);
            if (error != LinuxError.None)
                return error;
            node = _nodes.Remember(parent, name, facts, isNew);
        }
        finally
        {
            _paths.ExitReadLock();
        }
        if (node is null || !exchange.Answer(Entry(node, facts)))
        {
            file!.Dispose();
            return LinuxError.TooManyOpen;
        }
        return Hand(exchange, new OpenHandle(node, (int)asked.Flags, IsFolder: false, file, null), _nodes.NoteOpened(node, FileVersion.Of(facts)));
    }

    /// <summary>Gives the guest a number for what was opened.</summary>
    private int Hand(FuseExchange exchange, OpenHandle open, bool keepCache)
    {
        if (_handles.TryAdd(open, out ulong handle))
        {
            // Writing is told at once, so a reader's end concerns nobody.
            uint flags = (keepCache ? FuseOpened.KeepCache : 0) | ((open.Flags & OpenAccessMask) == OpenReadOnly ? FuseOpened.NoFlush : 0);
            if (exchange.Answer(new FuseOpened(handle, flags, 0)))
                return LinuxError.None;
            _handles.Remove(handle);
            return LinuxError.InvalidArgument;
        }
        open.Dispose();
        return LinuxError.TooManyOpen;
    }

    /// <summary>The file of a handle; an error if it is none, or was gone when the machine went on.</summary>
    private int Find(ulong handle, out ConfinedFile file)
    {
        OpenHandle? open = _handles.Find(handle);
        file = open?.File!;
        return file is not null ? LinuxError.None : open is { IsFolder: false } ? LinuxError.Stale : LinuxError.BadDescriptor;
    }

    private int Read(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseTransfer asked) || asked.Offset > long.MaxValue)
            return LinuxError.InvalidArgument;
        int error = Find(asked.Handle, out ConfinedFile file);
        if (error != LinuxError.None)
            return error;
        long length = (long)Math.Min(Math.Min(asked.Length, MostBytes), exchange.Room);
        exchange.Chain.WillWrite(FuseReplyHeader.Size + (ulong)length);
        error = file.Read((long)asked.Offset, exchange.Chain.WritableParts, FuseReplyHeader.Size, length, out long done);
        exchange.AnswerInPlace((ulong)done);
        return error;
    }

    private int Write(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseTransfer asked) || asked.Offset > long.MaxValue)
            return LinuxError.InvalidArgument;
        int error = Find(asked.Handle, out ConfinedFile file);
        if (error != LinuxError.None)
            return error;
        const int dataAt = FuseRequestHeader.Size + FuseTransfer.Size;
        if (asked.Length > MostBytes || asked.Length > exchange.Chain.ReadableLength - dataAt)
            return LinuxError.InvalidArgument;
        // The guest may not know yet that the host made the file longer; what it writes back from its cache has its place.
        bool append = (asked.Flags & OpenAppend) != 0 && (asked.TransferFlags & FuseTransfer.FromCache) == 0;
        error = file.Write((long)asked.Offset, exchange.Chain.ReadableParts, dataAt, asked.Length, append, out long done);
        return error != LinuxError.None ? error : Answered(exchange.Answer(new FuseWritten((uint)done, 0)));
    }

    private int Flush(FuseExchange exchange)
    {
        if (!exchange.TryTake(out ulong handle))
            return LinuxError.InvalidArgument;
        int error = Find(handle, out ConfinedFile file);
        return error != LinuxError.None ? error : file.TryClose();
    }

    private int Sync(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseSync asked) || _handles.Find(asked.Handle) is not { } open)
            return LinuxError.BadDescriptor;
        return open.File?.Flush((asked.Flags & FuseSync.DataOnly) != 0) ?? open.Listing?.Flush() ?? LinuxError.Stale;
    }

    private int Release(FuseExchange exchange) =>
        exchange.TryTake(out ulong handle) && _handles.Remove(handle) ? LinuxError.None : LinuxError.BadDescriptor;

    private int Allocate(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseAllocate asked) || asked.Offset > long.MaxValue || asked.Length > long.MaxValue)
            return LinuxError.InvalidArgument;
        int error = Find(asked.Handle, out ConfinedFile file);
        return error != LinuxError.None ? error : file.Allocate((int)asked.Mode, (long)asked.Offset, (long)asked.Length);
    }

    private int Seek(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseSeek asked) || asked.Offset > long.MaxValue)
            return LinuxError.InvalidArgument;
        int error = Find(asked.Handle, out ConfinedFile file);
        if (error != LinuxError.None)
            return error;
        error = file.Seek((long)asked.Offset, (int)asked.Whence, out long found);
        return error != LinuxError.None ? error : Answered(exchange.Answer((ulong)found));
    }
}
