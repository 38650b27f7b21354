using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>
/// A signal that one thread sends another to interrupt a system call. It is blocked in the receiving thread but for such a call, so it runs no handler
/// and never meets managed code: it makes the call return EINTR, stays pending, and is taken then.
/// </summary>
/// <remarks>
/// Nothing of the process changes: no disposition, only the calling thread's mask. A real-time signal in the middle of the range: .NET uses the first.
/// Unsafe for the calls alone: they fill locals of these methods.
/// </remarks>
public sealed unsafe class ThreadSignal
{
    private const int Number = 45;
    private const ulong Bit = 1ul << (Number - 1);

    private static readonly int ProcessId = Environment.ProcessId;

    private readonly int _thread;

    private ThreadSignal(int thread, ulong maskWithout)
    {
        _thread = thread;
        MaskWithout = maskWithout;
    }

    /// <summary>The thread's signal mask less this signal: the mask for the call that is to be interrupted.</summary>
    public ulong MaskWithout { get; }

    /// <summary>Blocks the signal in the calling thread, from now on.</summary>
    public static ThreadSignal ForThisThread()
    {
        ulong before = 0, block = Bit;
        if (SignalCalls.SignalMask(SignalCalls.SysSigprocmask, SignalCalls.Block, &block, &before, sizeof(ulong)) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        return new ThreadSignal((int)SignalCalls.GetThreadId(SignalCalls.SysGettid), before & ~Bit);
    }

    /// <summary>Interrupts the thread's call, or its next one. Any thread may send.</summary>
    public void Send() => SignalCalls.Send(SignalCalls.SysTgkill, ProcessId, _thread, Number);

    /// <summary>Takes the signal if it is pending. Only the thread itself may.</summary>
    public static void Take()
    {
        ulong wanted = Bit;
        Libc.Timespec now = new(0);
        SignalCalls.WaitForSignal(SignalCalls.SysSigtimedwait, &wanted, null, &now, sizeof(ulong));
    }
}
