namespace Trapline.Host;

// What changes the folder. Names are made and removed in a folder that is held by a descriptor.
public sealed unsafe partial class ConfinedFolder
{
    private const uint RenameNoReplace = 1, RenameExchange = 2;

    /// <summary>Bits that whoever makes a file may set: not those by which others would run it as its owner.</summary>
    private const ushort SettableMode = 0x3FF;
    private const ushort SetUser = 0x800, SetGroup = 0x400, SetIds = SetUser | SetGroup;

    /// <summary>Makes a regular file, or opens it if it is there already.</summary>
    /// <param name="flags">As for <see cref="OpenFile"/>.</param>
    /// <param name="exclusive">It must not be there.</param>
    /// <param name="isNew">It was not.</param>
    public int CreateFile(ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name, int flags, ushort mode, bool exclusive, out ConfinedFile? file, out FileFacts facts, out bool isNew)
    {
        (file, facts, isNew) = (null, default, false);
        int error = Enter(folder, name, out int parent);
        if (error != LinuxError.None)
            return error;
        for (int attempt = 1; ; attempt++)
        {
            error = CreateIn(parent, name, flags, mode, out file, out facts);
            isNew = error == LinuxError.None;
            if (exclusive || error != LinuxError.Exists)
                break;
            int found = Find(parent, name);
            error = found < 0 ? -found : OpenFound(found, flags, null, out file, out facts);
            if (found >= 0)
                Libc.Close(found);
            // It was removed in between.
            if (error != LinuxError.NoEntry || attempt == Attempts)
                break;
        }
        Libc.Close(parent);
        return error;
    }

    private int CreateIn(int parent, ReadOnlySpan<byte> name, int flags, ushort mode, out ConfinedFile? file, out FileFacts facts)
    {
        (file, facts) = (null, default);
        int descriptor = Open(parent, name, (OwnFlags(flags) & ~Libc.OpenTruncate) | Libc.OpenCreate | Libc.OpenExclusive | Libc.OpenNoFollow, (uint)(mode & SettableMode));
        if (descriptor < 0)
            return -descriptor;
        int error = Describe(descriptor, out facts);
        // The process's umask(2) took bits away that the maker wanted.
        if (error == LinuxError.None && (facts.Mode & SettableMode) != (mode & SettableMode) && Libc.Fchmod(descriptor, (uint)(mode & SettableMode)) == 0)
            facts = facts with { Mode = (ushort)((facts.Mode & ~SettableMode) | (mode & SettableMode)) };
        if (error == LinuxError.None)
            file = new ConfinedFile(descriptor, readOnly: false);
        else
            Libc.Close(descriptor);
        return error;
    }

    public int MakeFolder(ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name, ushort mode, out FileFacts facts)
    {
        facts = default;
        int error = Enter(folder, name, out int parent);
        if (error != LinuxError.None)
            return error;
        fixed (byte* start = name)
            error = Libc.Mkdirat(parent, start, (uint)(mode & SettableMode)) != 0 ? LastError : LinuxError.None;
        if (error == LinuxError.None)
            error = DescribeNew(parent, name, mode, out facts);
        Libc.Close(parent);
        return error;
    }

    /// <param name="target">What the link says; nobody looks at it here.</param>
    public int MakeSymbolicLink(ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name, ReadOnlySpan<byte> target, out FileFacts facts)
    {
        facts = default;
        if (!IsText(target))
            return LinuxError.InvalidArgument;
        int error = Enter(folder, name, out int parent);
        if (error != LinuxError.None)
            return error;
        fixed (byte* start = name, text = target)
            error = Libc.Symlinkat(text, parent, start) != 0 ? LastError : LinuxError.None;
        if (error == LinuxError.None)
            error = DescribeNew(parent, name, null, out facts);
        Libc.Close(parent);
        return error;
    }

    /// <summary>Gives a file another name.</summary>
    public int MakeHardLink(ReadOnlySpan<byte> path, FileIdentity? expected, ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name, out FileFacts facts)
    {
        facts = default;
        int error = Enter(folder, name, out int parent);
        if (error != LinuxError.None)
            return error;
        error = FindExpected(path, expected, out int file, out facts);
        if (error == LinuxError.None)
        {
            DescriptorPath self = new(file);
            fixed (byte* link = self.Bytes, start = name)
                error = Libc.Linkat(Libc.AtCurrentFolder, link, parent, start, Libc.AtFollow) != 0 ? LastError : Describe(file, out facts);
            Libc.Close(file);
        }
        Libc.Close(parent);
        return error;
    }

    /// <param name="isFolder">An empty folder, else anything but a folder.</param>
    public int Remove(ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name, bool isFolder)
    {
        int error = Enter(folder, name, out int parent);
        if (error != LinuxError.None)
            return error;
        fixed (byte* start = name)
            error = Libc.Unlinkat(parent, start, isFolder ? Libc.AtRemoveFolder : 0) != 0 ? LastError : LinuxError.None;
        Libc.Close(parent);
        return error;
    }

    /// <param name="flags">1: only if the new name is free; 2: exchange the two (renameat2(2)).</param>
    /// <param name="moved">What had the old name before.</param>
    public int Rename(ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name, ReadOnlySpan<byte> newFolder, ReadOnlySpan<byte> newName, uint flags, out FileIdentity moved, out FileIdentity exchanged)
    {
        (moved, exchanged) = (default, default);
        if ((flags & ~(RenameNoReplace | RenameExchange)) != 0)
            return LinuxError.InvalidArgument;
        int error = Enter(folder, name, out int from);
        if (error != LinuxError.None)
            return error;
        error = Enter(newFolder, newName, out int to);
        if (error != LinuxError.None)
        {
            Libc.Close(from);
            return error;
        }
        error = DescribeIn(from, name, out FileFacts facts);
        moved = facts.Identity;
        if (error == LinuxError.None && (flags & RenameExchange) != 0)
        {
            error = DescribeIn(to, newName, out facts);
            exchanged = facts.Identity;
        }
        if (error == LinuxError.None)
        {
            fixed (byte* old = name, start = newName)
                error = Libc.Renameat2(from, old, to, start, flags) != 0 ? LastError : LinuxError.None;
        }
        Libc.Close(to);
        Libc.Close(from);
        return error;
    }

    /// <summary>Changes a file by its path.</summary>
    public int Change(ReadOnlySpan<byte> path, FileIdentity? expected, in FileChanges changes, out FileFacts facts)
    {
        facts = default;
        if (IsReadOnly)
            return LinuxError.ReadOnly;
        int error = FindExpected(path, expected, out int file, out facts);
        if (error != LinuxError.None)
            return error;
        if (changes.Length is { } length)
        {
            DescriptorPath self = new(file);
            fixed (byte* link = self.Bytes)
            {
                error = facts.Kind != FileKind.Regular ? facts.Kind == FileKind.Folder ? LinuxError.IsFolder : LinuxError.InvalidArgument
                    : Libc.Truncate(link, length) != 0 ? LastError : LinuxError.None;
            }
        }
        if (error == LinuxError.None)
            error = ChangeOpen(file, changes, ref facts);
        Libc.Close(file);
        return error;
    }

    /// <summary>Changes all but the length of a file, by any descriptor of it.</summary>
    internal static int ChangeOpen(int file, in FileChanges changes, ref FileFacts facts)
    {
        DescriptorPath self = new(file);
        fixed (byte* link = self.Bytes)
        {
            if (changes.Mode is { } mode)
            {
                // Nobody becomes the owner by running what a guest made; bits that are there may stay, and folders hand their group down.
                int allowed = SettableMode | (facts.Mode & SetIds) | (facts.Kind == FileKind.Folder ? SetGroup : 0);
                if ((mode & FileFacts.ModeMask & ~allowed) != 0)
                    return LinuxError.NotPermitted;
                if (Libc.Chmod(link, (uint)(mode & FileFacts.ModeMask)) != 0)
                    return LastError;
            }
            if (changes.Accessed.Kind != TimeChangeKind.None || changes.Modified.Kind != TimeChangeKind.None)
            {
                Libc.GivenTime* times = stackalloc Libc.GivenTime[2];
                (times[0], times[1]) = (Given(changes.Accessed), Given(changes.Modified));
                if (Libc.Utimensat(Libc.AtCurrentFolder, link, times, 0) != 0)
                    return LastError;
            }
        }
        return Describe(file, out facts);
    }

    private static Libc.GivenTime Given(TimeChange change) => change.Kind switch
    {
        TimeChangeKind.None => new Libc.GivenTime { Nanoseconds = Libc.TimeOmitted },
        TimeChangeKind.Now => new Libc.GivenTime { Nanoseconds = Libc.TimeNow },
        _ => new Libc.GivenTime { Seconds = change.Time.Seconds, Nanoseconds = change.Time.Nanoseconds },
    };

    /// <summary>The folder in which a name is to change.</summary>
    private int Enter(ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name, out int parent)
    {
        parent = -1;
        if (!IsName(name))
            return name.Length > NameMaximum + 1 ? LinuxError.NameTooLong : LinuxError.InvalidArgument;
        if (IsReadOnly)
            return LinuxError.ReadOnly;
        parent = Find(_descriptor, folder, Libc.OpenDirectory);
        return parent < 0 ? -parent : LinuxError.None;
    }

    private int FindExpected(ReadOnlySpan<byte> path, FileIdentity? expected, out int file, out FileFacts facts)
    {
        facts = default;
        file = Find(_descriptor, path);
        if (file < 0)
            return -file;
        int error = Describe(file, out facts);
        if (error == LinuxError.None && expected is { } which && which != facts.Identity)
            error = LinuxError.Stale;
        if (error != LinuxError.None)
            Libc.Close(file);
        return error;
    }

    private static int DescribeIn(int folder, ReadOnlySpan<byte> name, out FileFacts facts)
    {
        facts = default;
        int file = Find(folder, name);
        if (file < 0)
            return -file;
        int error = Describe(file, out facts);
        Libc.Close(file);
        return error;
    }

    /// <summary>About what was just made, with the mode that its maker wanted and the process's umask(2) did not allow.</summary>
    private static int DescribeNew(int folder, ReadOnlySpan<byte> name, ushort? mode, out FileFacts facts)
    {
        facts = default;
        int file = Find(folder, name);
        if (file < 0)
            return -file;
        int error = Describe(file, out facts);
        if (error == LinuxError.None && mode is { } wanted && facts.Kind == FileKind.Folder && (facts.Mode & SettableMode) != (wanted & SettableMode))
            error = ChangeOpen(file, new FileChanges((ushort)((facts.Mode & SetIds) | (wanted & SettableMode)), null, default, default), ref facts);
        Libc.Close(file);
        return error;
    }
}
