using Trapline.Host;

namespace Trapline.Virtio.FileSystem.Fuse;

// What is known of files, and who owns them.
internal sealed partial class FuseServer
{
    private int GetAttributes(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseGetAttributes asked))
            return LinuxError.InvalidArgument;
        if (_nodes.Find(exchange.Header.Node) is not { } node)
            return LinuxError.Stale;
        ConfinedFile? file = (asked.Flags & FuseGetAttributes.HasHandle) != 0 ? _handles.Find(asked.Handle)?.File : null;
        int error = file is null ? Describe(exchange, node, out FileFacts facts) : file.Describe(out facts);
        return error != LinuxError.None ? error : Answered(exchange.Answer(new FuseAttributesReply(ValidSeconds, 0, 0, Attributes(facts))));
    }

    private int Describe(FuseExchange exchange, Node node, out FileFacts facts)
    {
        int error;
        _paths.EnterReadLock();
        try
        {
            error = _folder.Describe(_nodes.PathOf(node, default, exchange.Path), out facts);
        }
        finally
        {
            _paths.ExitReadLock();
        }
        if (error == LinuxError.None && (node.Identity is not { } which || which == facts.Identity))
            return LinuxError.None;
        if (error != LinuxError.None && !IsElsewhere(error))
            return error;
        // Removed while it is open.
        return _handles.FindFile(node) is { } file ? file.Describe(out facts) : LinuxError.Stale;
    }

    private int SetAttributes(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseSetAttributes asked))
            return LinuxError.InvalidArgument;
        if (_nodes.Find(exchange.Header.Node) is not { } node)
            return LinuxError.Stale;
        if (_folder.IsReadOnly)
            return LinuxError.ReadOnly;
        FileFacts facts;
        int error;
        if ((asked.Valid & (FuseSetAttributes.HasUser | FuseSetAttributes.HasGroup)) != 0)
        {
            error = Describe(exchange, node, out facts);
            if (error != LinuxError.None)
                return error;
            if (!KeepsOwner(asked, facts))
                return LinuxError.NotPermitted;
        }
        if ((asked.Valid & FuseSetAttributes.HasLength) != 0 && asked.Length > long.MaxValue)
            return LinuxError.InvalidArgument;
        FileChanges changes = new(
            (asked.Valid & FuseSetAttributes.HasMode) != 0 ? (ushort)(asked.Mode & FileFacts.ModeMask) : null,
            (asked.Valid & FuseSetAttributes.HasLength) != 0 ? (long)asked.Length : null,
            Time(asked.Valid, FuseSetAttributes.HasAccessed, FuseSetAttributes.AccessedNow, asked.Accessed, asked.AccessedNanoseconds),
            Time(asked.Valid, FuseSetAttributes.HasModified, FuseSetAttributes.ModifiedNow, asked.Modified, asked.ModifiedNanoseconds));
        ConfinedFile? file = (asked.Valid & FuseSetAttributes.HasHandle) != 0 ? _handles.Find(asked.Handle)?.File : null;
        error = file is null ? Change(exchange, node, changes, out facts) : file.Change(changes, out facts);
        return error != LinuxError.None ? error : Answered(exchange.Answer(new FuseAttributesReply(ValidSeconds, 0, 0, Attributes(facts))));
    }

    private int Change(FuseExchange exchange, Node node, in FileChanges changes, out FileFacts facts)
    {
        int error;
        _paths.EnterReadLock();
        try
        {
            error = _folder.Change(_nodes.PathOf(node, default, exchange.Path), node.Identity, changes, out facts);
        }
        finally
        {
            _paths.ExitReadLock();
        }
        return !IsElsewhere(error) ? error : _handles.FindFile(node) is { } file ? file.Change(changes, out facts) : LinuxError.Stale;
    }

    private static TimeChange Time(uint valid, uint given, uint now, long seconds, uint nanoseconds) =>
        (valid & now) != 0 ? new TimeChange(TimeChangeKind.Now, default)
        : (valid & given) != 0 && nanoseconds < 1_000_000_000 ? new TimeChange(TimeChangeKind.Given, new FileTime(seconds, nanoseconds)) : default;

    /// <summary>The path that a node had leads to nothing, or to something else.</summary>
    private static bool IsElsewhere(int error) =>
        error is LinuxError.Stale or LinuxError.NoEntry or LinuxError.NoFolder or LinuxError.TooManyLinks or LinuxError.OtherDevice;

    private int CheckAccess(FuseExchange exchange)
    {
        if (!exchange.TryTake(out FuseAccess asked))
            return LinuxError.InvalidArgument;
        if (_nodes.Find(exchange.Header.Node) is not { } node)
            return LinuxError.Stale;
        _paths.EnterReadLock();
        try
        {
            return _folder.CheckAccess(_nodes.PathOf(node, default, exchange.Path), (int)asked.Mask);
        }
        finally
        {
            _paths.ExitReadLock();
        }
    }

    private FuseAttributes Attributes(in FileFacts facts) => new(
        facts.Identity.Number, facts.Length, facts.Blocks, facts.Accessed.Seconds, facts.Modified.Seconds, facts.Changed.Seconds,
        facts.Accessed.Nanoseconds, facts.Modified.Nanoseconds, facts.Changed.Nanoseconds, facts.Mode, facts.Links,
        Shown(facts.Owner, _owner.User), Shown(facts.Group, _owner.Group), Device: 0, facts.BlockSize, Flags: 0);

    /// <summary>The host's user is the guest's root, to whom everything belongs that he made; the host's root is nobody there.</summary>
    private static uint Shown(uint id, uint own) => id == own ? 0 : id == 0 ? Nobody : id;

    /// <summary>Owners stay who they are: what the guest makes is the host's user's.</summary>
    private bool KeepsOwner(in FuseSetAttributes asked, in FileFacts facts) =>
        ((asked.Valid & FuseSetAttributes.HasUser) == 0 || asked.User == Shown(facts.Owner, _owner.User))
        && ((asked.Valid & FuseSetAttributes.HasGroup) == 0 || asked.Group == Shown(facts.Group, _owner.Group));
}
