using System.Runtime.InteropServices;

namespace Trapline.Host;

// Waiting: futex, epoll, eventfd and timer slack (Linux x86-64 constants).
internal static unsafe partial class Libc
{
    public const long SysFutex = 202;
    public const int FutexWakePrivate = 1 | 128;
    public const int FutexWaitBitsetPrivate = 9 | 128;
    public const int Etimedout = 110;
    public const int PrSetTimerSlack = 29;

    [StructLayout(LayoutKind.Sequential)]
    public readonly struct Timespec(long nanoseconds)
    {
        public readonly long Seconds = nanoseconds / 1_000_000_000;
        public readonly long Nanoseconds = nanoseconds % 1_000_000_000;
    }

    // futex has no wrapper in the C library. syscall(2) is declared variadic, which for integer arguments is the ordinary x86-64 convention.
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    public static partial long Futex(long number, int* word, int operation, uint value, Timespec* timeout, int* second, uint bitset);

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    public static partial int Prctl(int option, nuint a, nuint b, nuint c, nuint d);

    public const int EventCloseOnExec = 0x80000, EventNonBlocking = 0x800, EpollAdd = 1;
    public const uint EpollIn = 1, EpollEdge = 1u << 31;

    /// <summary>struct epoll_event, which x86-64 packs.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    public struct EpollEvent
    {
        public uint Events;
        public ulong Data;
    }

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    public static partial int EventFd(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    public static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    public static partial int EpollControl(int set, int operation, int fd, EpollEvent* wanted);

    [LibraryImport("libc", EntryPoint = "epoll_wait")]
    public static partial int EpollWait(int set, EpollEvent* events, int most, int milliseconds);

    [LibraryImport("libc", EntryPoint = "write")]
    public static partial nint WriteEvent(int fd, ulong* value, nuint length);
}
