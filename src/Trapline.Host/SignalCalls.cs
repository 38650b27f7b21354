using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>Signals of single threads (Linux x86-64 constants). By number, since the kernel's mask has 64 bits and the C library's type is its own business.</summary>
/// <remarks>syscall(2) is declared variadic, which for integer arguments is the ordinary x86-64 convention.</remarks>
internal static unsafe partial class SignalCalls
{
    public const long SysSigprocmask = 14;
    public const long SysSigtimedwait = 128;
    public const long SysGettid = 186;
    public const long SysTgkill = 234;
    public const int Block = 0;

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    public static partial long SignalMask(long number, int how, ulong* set, ulong* before, nuint size);

    [LibraryImport("libc", EntryPoint = "syscall")]
    public static partial long WaitForSignal(long number, ulong* set, void* info, Libc.Timespec* timeout, nuint size);

    [LibraryImport("libc", EntryPoint = "syscall")]
    public static partial long GetThreadId(long number);

    [LibraryImport("libc", EntryPoint = "syscall")]
    public static partial long Send(long number, int process, int thread, int signal);
}
