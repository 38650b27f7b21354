namespace Trapline.Host;

/// <summary>Which file it is, as long as it exists: its name may change. The time of birth tells apart what has the same number one after the other.</summary>
public readonly record struct FileIdentity(ulong Device, ulong Number, FileTime Birth);

/// <summary>A time as file systems keep it, since 1970.</summary>
public readonly record struct FileTime(long Seconds, uint Nanoseconds);

/// <summary>What kind of file it is (inode(7), S_IFMT).</summary>
public enum FileKind
{
    Pipe = 0x1000,
    CharacterDevice = 0x2000,
    Folder = 0x4000,
    BlockDevice = 0x6000,
    Regular = 0x8000,
    SymbolicLink = 0xA000,
    Socket = 0xC000,
}

/// <summary>What the host knows of a file (statx(2)).</summary>
public readonly record struct FileFacts
{
    public const int KindMask = 0xF000, PermissionMask = 0x1FF, ModeMask = 0xFFF;

    public FileIdentity Identity { get; init; }
    public ushort Mode { get; init; }
    public uint Links { get; init; }
    public uint Owner { get; init; }
    public uint Group { get; init; }
    public ulong Length { get; init; }

    /// <summary>Of 512 bytes.</summary>
    public ulong Blocks { get; init; }
    public uint BlockSize { get; init; }
    public FileTime Accessed { get; init; }
    public FileTime Modified { get; init; }
    public FileTime Changed { get; init; }

    public FileKind Kind => (FileKind)(Mode & KindMask);
}

/// <summary>The room in a file system (statfs(2)).</summary>
public readonly record struct FileSystemFacts(ulong Blocks, ulong Free, ulong Available, ulong Files, ulong FreeFiles, uint BlockSize, uint NameLength, uint FragmentSize);

/// <summary>What is to change about a file; null for what stays.</summary>
/// <param name="Mode">Permissions, and the bits beside them.</param>
/// <param name="Length">Bytes; what is new reads as zeroes.</param>
public readonly record struct FileChanges(ushort? Mode, long? Length, TimeChange Accessed, TimeChange Modified);

/// <summary>A change of one of a file's times.</summary>
public readonly record struct TimeChange(TimeChangeKind Kind, FileTime Time);

public enum TimeChangeKind
{
    None,

    /// <summary>To the host's time.</summary>
    Now,
    Given,
}
