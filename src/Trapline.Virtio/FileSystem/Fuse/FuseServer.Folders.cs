using Trapline.Host;

namespace Trapline.Virtio.FileSystem.Fuse;

// Open folders, and what is in them.
internal sealed partial class FuseServer
{
    /// <summary>Room for an entry with the longest name, as the host lists it.</summary>
    private const int LongestEntry = 280;

    private int OpenFolder(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseOpen asked))
            return LinuxError.InvalidArgument;
        if (_nodes.Find(exchange.Header.Node) is not { } node)
            return LinuxError.Stale;
        if (!_handles.HasRoom)
            return LinuxError.TooManyOpen;
        ConfinedListing? listing;
        int error;
        _paths.EnterReadLock();
        try
        {
            error = _folder.OpenListing(_nodes.PathOf(node, default, exchange.Path), node.Identity, out listing, out _);
        }
        finally
        {
            _paths.ExitReadLock();
        }
        if (error != LinuxError.None)
            return IsElsewhere(error) ? LinuxError.Stale : error;
        return Hand(exchange, new OpenHandle(node, (int)asked.Flags, IsFolder: true, null, listing), keepCache: false);
    }

    /// <summary>Lists as many entries as there is room for.</summary>
    /// <param name="plus">With what is known of each file, which the guest then has looked up.</param>
    private int ReadFolder(FuseExchange exchange, bool plus)
    {
        if (!exchange.TryTake(out FuseTransfer asked) || asked.Offset > long.MaxValue)
            return LinuxError.InvalidArgument;
        if (_handles.Find(asked.Handle) is not { IsFolder: true } open)
            return LinuxError.BadDescriptor;
        if (open.Listing is not { } listing)
            return LinuxError.Stale;
        int room = (int)Math.Min(Math.Min(asked.Length, MostBytes), exchange.Room);
        // Not many more than there will be room for; those are read again.
        int most = Math.Clamp(plus ? room / 4 : room, LongestEntry, exchange.Scratch.Length);
        bool isFirst = true;
        long position = (long)asked.Offset;
        while (true)
        {
            long start = position;
            int error = listing.Read(position, exchange.Scratch[..most], out int length);
            if (error != LinuxError.None || length == 0)
                return isFirst ? error : LinuxError.None;
            ReadOnlySpan<byte> entries = exchange.Scratch[..length];
            while (FolderEntry.TryTake(ref entries, out FolderEntry entry))
            {
                int size = (plus ? FuseEntry.Size : 0) + Aligned(FuseFolderEntry.Size + entry.Name.Length - 1);
                if (size > room)
                    return isFirst ? LinuxError.InvalidArgument : LinuxError.None;
                if (plus)
                    exchange.Answer(Look(open.Node, listing, entry));
                Add(exchange, entry);
                (room, position, isFirst) = (room - size, entry.Next, false);
            }
            if (position == start)
                return LinuxError.None; // nothing that could be read on from
        }
    }

    private static int Aligned(int length) => (length + FuseFolderEntry.Alignment - 1) & -FuseFolderEntry.Alignment;

    private static void Add(FuseExchange exchange, in FolderEntry entry)
    {
        ReadOnlySpan<byte> name = entry.Name[..^1];
        exchange.Answer(new FuseFolderEntry(entry.Number, (ulong)entry.Next, (uint)name.Length, entry.Type));
        exchange.Answer(name);
        exchange.Answer("\0\0\0\0\0\0\0\0"u8[..(Aligned(name.Length) - name.Length)]);
    }

    /// <summary>What the guest learns of a file beside its name: nothing if it has to ask.</summary>
    private FuseEntry Look(Node folder, ConfinedListing listing, in FolderEntry entry)
    {
        // "." and ".." are known already (fuse_direntplus_link in the kernel's fs/fuse/readdir.c).
        if (!ConfinedFolder.IsName(entry.Name))
            return default;
        _paths.EnterReadLock();
        try
        {
            return listing.Describe(entry.Name, out FileFacts facts) == LinuxError.None && _nodes.Remember(folder, entry.Name, facts, isNew: false) is { } node
                ? Entry(node, facts) : default;
        }
        finally
        {
            _paths.ExitReadLock();
        }
    }
}
