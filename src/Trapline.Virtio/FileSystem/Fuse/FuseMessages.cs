using System.Runtime.InteropServices;

namespace Trapline.Virtio.FileSystem.Fuse;

// Structures of FUSE 7.31 as they lie in requests and replies (include/uapi/linux/fuse.h). All are naturally aligned and little-endian, as this host is.

/// <summary>struct fuse_in_header.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseRequestHeader(uint Length, FuseOperation Operation, ulong Unique, ulong Node, uint User, uint Group, uint Process, uint Reserved)
{
    public const int Size = 40;
}

/// <summary>struct fuse_out_header; the error is negative.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseReplyHeader(uint Length, int Error, ulong Unique)
{
    public const int Size = 16;
}

/// <summary>struct fuse_attr.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseAttributes(
    ulong Number, ulong Length, ulong Blocks, long Accessed, long Modified, long Changed, uint AccessedNanoseconds, uint ModifiedNanoseconds, uint ChangedNanoseconds,
    uint Mode, uint Links, uint User, uint Group, uint Device, uint BlockSize, uint Flags);

/// <summary>struct fuse_entry_out: a name leads to a node, and both are known for some seconds.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseEntry(
    ulong Node, ulong Generation, ulong EntryValid, ulong AttributesValid, uint EntryValidNanoseconds, uint AttributesValidNanoseconds, FuseAttributes Attributes)
{
    public const int Size = 128;
}

/// <summary>struct fuse_attr_out.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseAttributesReply(ulong Valid, uint ValidNanoseconds, uint Reserved, FuseAttributes Attributes);

/// <summary>struct fuse_getattr_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseGetAttributes(uint Flags, uint Reserved, ulong Handle)
{
    public const uint HasHandle = 1;
}

/// <summary>struct fuse_setattr_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseSetAttributes(
    uint Valid, uint Reserved, ulong Handle, ulong Length, ulong LockOwner, long Accessed, long Modified, long Changed,
    uint AccessedNanoseconds, uint ModifiedNanoseconds, uint ChangedNanoseconds, uint Mode, uint Unused4, uint User, uint Group, uint Unused5)
{
    public const uint HasMode = 1 << 0, HasUser = 1 << 1, HasGroup = 1 << 2, HasLength = 1 << 3, HasAccessed = 1 << 4, HasModified = 1 << 5, HasHandle = 1 << 6,
        AccessedNow = 1 << 7, ModifiedNow = 1 << 8;
}

/// <summary>struct fuse_forget_one, and how often for struct fuse_forget_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseForgetOne(ulong Node, ulong Lookups)
{
    public const int Size = 16;
}

/// <summary>struct fuse_batch_forget_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseBatchForget(uint Count, uint Reserved)
{
    public const int Size = 8;
}

/// <summary>struct fuse_mknod_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseMakeNode(uint Mode, uint Device, uint Mask, uint Reserved);

/// <summary>struct fuse_mkdir_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseMakeFolder(uint Mode, uint Mask);

/// <summary>struct fuse_rename2_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseRename2(ulong NewFolder, uint Flags, uint Reserved);

/// <summary>struct fuse_open_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseOpen(uint Flags, uint OpenFlags);

/// <summary>struct fuse_create_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseCreate(uint Flags, uint Mode, uint Mask, uint OpenFlags);

/// <summary>struct fuse_open_out.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseOpened(ulong Handle, uint Flags, uint Reserved)
{
    /// <summary>The guest's cache of the file is still right.</summary>
    public const uint KeepCache = 1 << 1;

    /// <summary>Nothing is to be done when it is closed.</summary>
    public const uint NoFlush = 1 << 5;
}

/// <summary>struct fuse_read_in and struct fuse_write_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseTransfer(ulong Handle, ulong Offset, uint Length, uint TransferFlags, ulong LockOwner, uint Flags, uint Reserved)
{
    public const int Size = 40;

    /// <summary>Written back from the guest's cache, by any handle of the file (FUSE_WRITE_CACHE).</summary>
    public const uint FromCache = 1;
}

/// <summary>struct fuse_write_out.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseWritten(uint Length, uint Reserved);

/// <summary>struct fuse_kstatfs.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseSpace(
    ulong Blocks, ulong Free, ulong Available, ulong Files, ulong FreeFiles, uint BlockSize, uint NameLength, uint FragmentSize, uint Reserved,
    ulong Spare0, ulong Spare1, ulong Spare2);

/// <summary>struct fuse_fsync_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseSync(ulong Handle, uint Flags, uint Reserved)
{
    public const uint DataOnly = 1;
}

/// <summary>struct fuse_access_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseAccess(uint Mask, uint Reserved);

/// <summary>struct fuse_init_in, of which newer kernels have more.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseInit(uint Major, uint Minor, uint ReadAhead, uint Flags);

/// <summary>struct fuse_init_out.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseInitReply(
    uint Major, uint Minor, uint ReadAhead, uint Flags, ushort MostBackground, ushort Congestion, uint MostWritten, uint TimeGranularity, ushort MostPages, ushort MapAlignment,
    ulong Spare0, ulong Spare1, ulong Spare2, ulong Spare3);

/// <summary>struct fuse_fallocate_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseAllocate(ulong Handle, ulong Offset, ulong Length, uint Mode, uint Reserved);

/// <summary>struct fuse_lseek_in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseSeek(ulong Handle, ulong Offset, uint Whence, uint Reserved);

/// <summary>struct fuse_dirent, without the name.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct FuseFolderEntry(ulong Number, ulong Next, uint NameLength, uint Type)
{
    public const int Size = 24, Alignment = 8;
}
