using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A folder in a <see cref="ConfinedFolder"/>, opened for listing it.</summary>
/// <inheritdoc cref="ConfinedFile" path="/remarks"/>
public sealed unsafe class ConfinedListing : IDisposable
{
    private readonly SafeFileHandle _handle;

    /// <summary>Two calls make one reading.</summary>
    private readonly Lock _lock = new();

    internal ConfinedListing(int descriptor) => _handle = new SafeFileHandle(descriptor, ownsHandle: true);

    /// <summary>Reads entries (<see cref="FolderEntry"/>) from a position on.</summary>
    /// <param name="position">0, or an entry's <see cref="FolderEntry.Next"/>.</param>
    /// <param name="length">Bytes read; 0 at the end.</param>
    public int Read(long position, Span<byte> entries, out int length)
    {
        length = 0;
        lock (_lock)
        {
            if (Libc.Lseek(_handle, position, 0) < 0)
                return LastError;
            nint got;
            fixed (byte* start = entries)
                got = Libc.Getdents64(_handle, start, (nuint)entries.Length);
            if (got < 0)
                return LastError;
            length = (int)got;
            return LinuxError.None;
        }
    }

    /// <summary>About the file with a name in this folder; not about what is mounted there.</summary>
    public int Describe(ReadOnlySpan<byte> name, out FileFacts facts)
    {
        facts = default;
        if (!ConfinedFolder.IsName(name))
            return LinuxError.InvalidArgument;
        Libc.FileStatus status;
        int result;
        fixed (byte* start = name)
            result = Libc.Statx(_handle, start, Libc.AtNoFollow | Libc.AtNoAutomount, Libc.StatusFields, &status);
        if (result != 0)
            return LastError;
        if ((status.Attributes & Libc.IsMountRoot) != 0)
            return LinuxError.OtherDevice;
        facts = status.Facts;
        return LinuxError.None;
    }

    /// <summary>Which names there are is on stable storage.</summary>
    public int Flush() => Libc.Fsync(_handle) != 0 ? LastError : LinuxError.None;

    /// <summary>Closes it when no call is under way any more.</summary>
    public void Dispose() => _handle.Dispose();

    private static int LastError => Marshal.GetLastPInvokeError();
}

/// <summary>An entry of a folder, as the kernel lists it (getdents64(2), struct linux_dirent64).</summary>
public readonly ref struct FolderEntry
{
    private const int LengthAt = 16, TypeAt = 18, NameAt = 19;

    private FolderEntry(ReadOnlySpan<byte> bytes)
    {
        Number = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        Next = BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]);
        Type = bytes[TypeAt];
        Name = bytes[NameAt..(NameAt + bytes[NameAt..].IndexOf((byte)0) + 1)];
    }

    public ulong Number { get; }

    /// <summary>The position behind it.</summary>
    public long Next { get; }

    /// <summary>The upper four bits of its mode; 0 if nobody knows.</summary>
    public byte Type { get; }

    /// <summary>With the zero that ends it.</summary>
    public ReadOnlySpan<byte> Name { get; }

    /// <summary>The next one in what <see cref="ConfinedListing.Read"/> read.</summary>
    public static bool TryTake(ref ReadOnlySpan<byte> entries, out FolderEntry entry)
    {
        entry = default;
        if (entries.Length <= NameAt)
            return false;
        int length = BinaryPrimitives.ReadUInt16LittleEndian(entries[LengthAt..]);
        if (length <= NameAt || length > entries.Length)
            return false;
        entry = new FolderEntry(entries[..length]);
        entries = entries[length..];
        return true;
    }
}
