using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>The C library's calls that start and end programs (posix_spawn(3), waitpid(2); Linux x86-64 constants).</summary>
internal static unsafe partial class ProcessCalls
{
    public const short SetGroup = 2, SetSignalDefaults = 4, SetSignalMask = 8;
    public const int NoHang = 1, Kill = 9;

    /// <summary>posix_spawn_file_actions_t, posix_spawnattr_t and sigset_t are the library's own business; this is more than any of them needs.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 512)]
    public struct Opaque
    {
    }

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_init")]
    public static partial int InitializeActions(Opaque* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_destroy")]
    public static partial int DestroyActions(Opaque* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_adddup2")]
    public static partial int AddDuplicate(Opaque* actions, int fd, int to);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addopen", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int AddOpen(Opaque* actions, int fd, string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_init")]
    public static partial int InitializeAttributes(Opaque* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_destroy")]
    public static partial int DestroyAttributes(Opaque* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setflags")]
    public static partial int SetFlags(Opaque* attributes, short flags);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigmask")]
    public static partial int SetMask(Opaque* attributes, Opaque* signals);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigdefault")]
    public static partial int SetDefaults(Opaque* attributes, Opaque* signals);

    [LibraryImport("libc", EntryPoint = "sigemptyset")]
    public static partial int NoSignals(Opaque* signals);

    [LibraryImport("libc", EntryPoint = "sigfillset")]
    public static partial int AllSignals(Opaque* signals);

    [LibraryImport("libc", EntryPoint = "posix_spawn", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Spawn(int* process, string path, Opaque* actions, Opaque* attributes, byte** arguments, byte** environment);

    [LibraryImport("libc", EntryPoint = "waitpid", SetLastError = true)]
    public static partial int Wait(int process, int* status, int options);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    public static partial int Signal(int process, int signal);

    [LibraryImport("libc", EntryPoint = "pipe2", SetLastError = true)]
    public static partial int Pipe(int* descriptors, int flags);
}
