using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>Who owns a file, which .NET does not tell.</summary>
/// <remarks>Unsafe for the call alone: it gets the address of a local as large as statx(2) says.</remarks>
public static unsafe partial class FileOwner
{
    private const int AtCurrentDirectory = -100;
    private const int NoFollow = 0x100;
    private const uint BasicFields = 0x7FF;
    private const int TypeMask = 0xF000, TypeDirectory = 0x4000, PermissionMask = 0xFFF;

    /// <summary>The user whom files that this process makes belong to.</summary>
    public static uint OfThisProcess => EffectiveUser();

    /// <summary>About the file itself, not about what a link leads to.</summary>
    /// <exception cref="IOException">It is not there, or hidden.</exception>
    public static (uint Owner, UnixFileMode Mode, bool IsDirectory) Of(string path)
    {
        FileStatus status;
        if (Status(AtCurrentDirectory, path, NoFollow, BasicFields, &status) != 0)
            throw new IOException($"'{path}': {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
        return (status.Owner, (UnixFileMode)(status.Mode & PermissionMask), (status.Mode & TypeMask) == TypeDirectory);
    }

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint EffectiveUser();

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Status(int directory, string path, int flags, uint mask, FileStatus* status);

    /// <summary>struct statx of linux/stat.h.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct FileStatus
    {
        [FieldOffset(20)]
        public uint Owner;

        [FieldOffset(28)]
        public ushort Mode;
    }
}
