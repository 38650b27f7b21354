using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A folder of the host for somebody who must not get out of it, such as a guest: whatever paths say, and whoever swaps folders meanwhile.</summary>
/// <remarks>
/// Paths go from the folder down and are resolved by the kernel in one go (openat2(2)): no symbolic link is followed, no ".." leads up, no other file
/// system mounted in the folder is entered (a share of / would have /proc, and with it this process's memory). Names are one component. Files of other kinds than folders, regular
/// files and symbolic links are seen and can be removed, never opened. What is found is held by an O_PATH descriptor while it is judged, and opened by
/// that descriptor, so that nothing can take its place in between.
/// Paths and names are bytes that end with a zero; an empty path is one that was too long to be written down. Methods return 0 or one of <see cref="LinuxError"/> and do not throw. From any thread.
/// Unsafe for the calls alone: each gets the pinned span that it was given, which was found to end with a zero byte, or the address of a local.
/// </remarks>
public sealed unsafe partial class ConfinedFolder : IDisposable
{
    private const int NameMaximum = 255, Attempts = 16;
    private const int OpenFilesLimit = 7;

    private const ulong Confined = Libc.ResolveBeneath | Libc.ResolveNoSymbolicLinks | Libc.ResolveNoMagicLinks | Libc.ResolveNoMountCrossing;

    private readonly SafeFileHandle _root;
    private readonly int _descriptor;

    private ConfinedFolder(int descriptor, bool readOnly)
    {
        (_descriptor, IsReadOnly) = (descriptor, readOnly);
        _root = new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <param name="path">A folder; symbolic links on the way to it are followed.</param>
    /// <param name="readOnly">Nothing in it can be changed by way of this object.</param>
    /// <exception cref="IOException">There is no such folder; the message is the reason alone.</exception>
    public static ConfinedFolder Open(string path, bool readOnly)
    {
        int descriptor = Libc.Open(path, Libc.OpenPath | Libc.OpenDirectory | Libc.OpenCloseOnExec, 0);
        if (descriptor < 0)
        {
            int error = Marshal.GetLastPInvokeError();
            throw new IOException(error switch
            {
                LinuxError.NoEntry => "it does not exist",
                LinuxError.NoFolder => "it is not a folder",
                _ => new Win32Exception(error).Message.ToLowerInvariant(),
            });
        }
        ConfinedFolder folder = new(descriptor, readOnly);
        int found = folder.Describe(Self, out _);
        if (found == LinuxError.None)
            return folder;
        folder.Dispose();
        throw new IOException(found == LinuxError.NoSystemCall ? "the host's kernel has no openat2, which came with Linux 5.6" : new Win32Exception(found).Message.ToLowerInvariant());
    }

    /// <summary>The path of the folder itself.</summary>
    public static ReadOnlySpan<byte> Self => ".\0"u8;

    public bool IsReadOnly { get; }

    /// <summary>The user and group to whom files that this process makes belong.</summary>
    public static (uint User, uint Group) Owner => (GetEffectiveUser(), GetEffectiveGroup());

    /// <summary>How many files this process may have open at once.</summary>
    public static ulong MostOpenFiles
    {
        get
        {
            ulong* limits = stackalloc ulong[2];
            return Libc.Getrlimit(OpenFilesLimit, limits) == 0 ? limits[0] : 1024;
        }
    }

    /// <summary>One component: neither empty nor "." nor "..", without a slash.</summary>
    public static bool IsName(ReadOnlySpan<byte> name) =>
        name.Length is > 1 and <= NameMaximum + 1 && IsText(name) && !name.Contains((byte)'/') && !name.SequenceEqual(".\0"u8) && !name.SequenceEqual("..\0"u8);

    /// <summary>Ends with a zero byte, and has no other.</summary>
    private static bool IsText(ReadOnlySpan<byte> text) => text.IndexOf((byte)0) == text.Length - 1;

    /// <summary>About the file itself: a symbolic link is not followed.</summary>
    public int Describe(ReadOnlySpan<byte> path, out FileFacts facts)
    {
        facts = default;
        int file = Find(_descriptor, path);
        if (file < 0)
            return -file;
        int error = Describe(file, out facts);
        Libc.Close(file);
        return error;
    }

    /// <summary>Opens a regular file that is there.</summary>
    /// <param name="flags">How, in Linux's bits (open(2)): access, truncation and synchronization; the others mean nothing.</param>
    /// <param name="expected">Which file it must be, else <see cref="LinuxError.Stale"/>; null for any.</param>
    public int OpenFile(ReadOnlySpan<byte> path, int flags, FileIdentity? expected, out ConfinedFile? file, out FileFacts facts)
    {
        (file, facts) = (null, default);
        int found = Find(_descriptor, path);
        if (found < 0)
            return -found;
        int error = OpenFound(found, flags, expected, out file, out facts);
        Libc.Close(found);
        return error;
    }

    /// <summary>Opens a folder for listing it.</summary>
    /// <inheritdoc cref="OpenFile"/>
    public int OpenListing(ReadOnlySpan<byte> path, FileIdentity? expected, out ConfinedListing? listing, out FileFacts facts)
    {
        (listing, facts) = (null, default);
        // Only folders are opened so, and opening one has no effect on it.
        int folder = Open(_descriptor, path, Libc.OpenReadOnly | Libc.OpenDirectory | Libc.OpenNoFollow, 0);
        if (folder < 0)
            return -folder;
        int error = Describe(folder, out facts);
        if (error == LinuxError.None && expected is { } which && which != facts.Identity)
            error = LinuxError.Stale;
        if (error == LinuxError.None)
            listing = new ConfinedListing(folder);
        else
            Libc.Close(folder);
        return error;
    }

    /// <summary>What a symbolic link says.</summary>
    public int ReadLink(ReadOnlySpan<byte> path, Span<byte> target, out int length)
    {
        length = 0;
        int link = Find(_descriptor, path);
        if (link < 0)
            return -link;
        nint got;
        fixed (byte* start = target)
            got = Libc.Readlinkat(link, EmptyPath, start, (nuint)target.Length);
        int error = got < 0 ? LastError : LinuxError.None;
        Libc.Close(link);
        // A descriptor that is no link's has no empty path (readlink(2)).
        if (error == LinuxError.NoEntry)
            return LinuxError.InvalidArgument;
        length = (int)Math.Max(got, 0);
        return error;
    }

    /// <param name="mode">R_OK 4, W_OK 2, X_OK 1, 0 for being there (access(2)).</param>
    public int CheckAccess(ReadOnlySpan<byte> path, int mode)
    {
        if ((mode & ~7) != 0)
            return LinuxError.InvalidArgument;
        if (IsReadOnly && (mode & 2) != 0)
            return LinuxError.ReadOnly;
        int file = Find(_descriptor, path);
        if (file < 0)
            return -file;
        DescriptorPath self = new(file);
        int error;
        fixed (byte* link = self.Bytes)
            error = Libc.Faccessat(Libc.AtCurrentFolder, link, mode, 0) != 0 ? LastError : LinuxError.None;
        Libc.Close(file);
        return error;
    }

    public int DescribeSpace(out FileSystemFacts facts)
    {
        Libc.FileSystemStatus status;
        if (Libc.Fstatfs(_descriptor, &status) != 0)
        {
            facts = default;
            return LastError;
        }
        facts = new FileSystemFacts(
            status.Blocks, status.Free, status.Available, status.Files, status.FreeFiles, (uint)status.BlockSize, (uint)status.NameLength, (uint)status.FragmentSize);
        return LinuxError.None;
    }

    /// <summary>No call may be under way.</summary>
    public void Dispose() => _root.Dispose();

    private static int LastError => Marshal.GetLastPInvokeError();

    /// <summary>An O_PATH descriptor of what a path leads to, or a negative error.</summary>
    private static int Find(int from, ReadOnlySpan<byte> path, int flags = 0) => Open(from, path, Libc.OpenPath | Libc.OpenNoFollow | flags, 0);

    /// <summary>A descriptor, or a negative error.</summary>
    private static int Open(int from, ReadOnlySpan<byte> path, int flags, uint mode)
    {
        if (path.IsEmpty)
            return -LinuxError.NameTooLong;
        if (!IsText(path))
            return -LinuxError.InvalidArgument;
        Libc.OpenHow how = new() { Flags = (ulong)(flags | Libc.OpenCloseOnExec), Mode = mode, Resolve = Confined };
        fixed (byte* start = path)
        {
            for (int attempt = 1; ; attempt++)
            {
                long descriptor = Libc.Openat2(Libc.SysOpenat2, from, start, &how, (nuint)sizeof(Libc.OpenHow));
                if (descriptor >= 0)
                    return (int)descriptor;
                int error = LastError;
                // TryAgain: somebody renamed folders on the way (openat2(2)).
                if (error is not (LinuxError.Interrupted or LinuxError.TryAgain) || attempt == Attempts)
                    return -error;
            }
        }
    }

    private static int Describe(int file, out FileFacts facts)
    {
        Libc.FileStatus status;
        bool known = Libc.Statx(file, EmptyPath, Libc.AtEmptyPath, Libc.StatusFields, &status) == 0;
        facts = known ? status.Facts : default;
        return known ? LinuxError.None : LastError;
    }

    /// <summary>A path of no component: the descriptor's own file. In the program's image, where it does not move.</summary>
    private static byte* EmptyPath
    {
        get
        {
            fixed (byte* empty = "\0"u8)
                return empty;
        }
    }

    /// <summary>Opens what an O_PATH descriptor names, if it is the file that is expected and one that opening does nothing to.</summary>
    private int OpenFound(int found, int flags, FileIdentity? expected, out ConfinedFile? file, out FileFacts facts)
    {
        file = null;
        int error = Describe(found, out facts);
        if (error != LinuxError.None)
            return error;
        if (expected is { } which && which != facts.Identity)
            return LinuxError.Stale;
        if (facts.Kind != FileKind.Regular)
            return facts.Kind == FileKind.Folder ? LinuxError.IsFolder : facts.Kind == FileKind.SymbolicLink ? LinuxError.TooManyLinks : LinuxError.NotPermitted;
        int own = OwnFlags(flags);
        if (IsReadOnly && ((own & Libc.OpenAccessMask) != Libc.OpenReadOnly || (own & Libc.OpenTruncate) != 0))
            return LinuxError.ReadOnly;
        DescriptorPath self = new(found);
        int descriptor;
        fixed (byte* link = self.Bytes)
            descriptor = Libc.Open(link, own, 0);
        if (descriptor < 0)
            return LastError;
        file = new ConfinedFile(descriptor, IsReadOnly);
        return (own & Libc.OpenTruncate) != 0 ? Describe(descriptor, out facts) : LinuxError.None;
    }

    private static int OwnFlags(int flags) =>
        (flags & (Libc.OpenAccessMask | Libc.OpenTruncate | Libc.OpenSync)) | Libc.OpenCloseOnExec | Libc.OpenNoTerminal | Libc.OpenNonBlocking;

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetEffectiveUser();

    [LibraryImport("libc", EntryPoint = "getegid")]
    private static partial uint GetEffectiveGroup();
}
