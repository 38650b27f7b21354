using Trapline.Host;

namespace Trapline.Kvm;

/// <summary>Makes KVM_RUN return, from any thread, without losing a wake-up.</summary>
/// <remarks>
/// A signal is blocked in the vCPU's thread and let through by KVM_RUN alone (KVM_SET_SIGNAL_MASK, api.rst 4.27): sent before the call, it ends the call at
/// once; sent during it, it ends it; sent after it, it ends the next one for nothing. It is sent only to a vCPU that is inside, once for each time inside.
/// The order that makes this safe: whoever kicks writes its request, then looks at the place; the vCPU writes the place, then looks at the requests.
/// </remarks>
internal sealed class VcpuKick
{
    private const int Outside = 0, Inside = 1, Signalled = 2;

    private ThreadSignal? _signal;
    private int _ownerThread;
    private int _place;

    /// <summary>Makes the calling thread the vCPU's. The mask for KVM_RUN if it was another one before, else null.</summary>
    public ulong? Adopt()
    {
        int thread = Environment.CurrentManagedThreadId;
        if (thread == _ownerThread)
            return null;
        _ownerThread = thread;
        ThreadSignal signal = ThreadSignal.ForThisThread();
        Volatile.Write(ref _signal, signal);
        return signal.MaskWithout;
    }

    /// <summary>From now on requests are signalled. The caller looks at them once more before it enters the kernel.</summary>
    public void Enter() => Interlocked.Exchange(ref _place, Inside);

    /// <summary>From now on they are not. Takes the signal if there was one.</summary>
    public void Leave()
    {
        // A signal that is still on its way is taken after the next call, which it ends.
        if (Interlocked.Exchange(ref _place, Outside) == Signalled)
            ThreadSignal.Take();
    }

    /// <summary>From the vCPU's thread: the next KVM_RUN returns before it enters the guest.</summary>
    public void SignalSelf() => Volatile.Read(ref _signal)!.Send();

    /// <summary>KVM_RUN was interrupted: takes what did it.</summary>
    public static void Interrupted() => ThreadSignal.Take();

    /// <summary>The request is written: ends KVM_RUN if the vCPU is in it.</summary>
    public void Send()
    {
        if (Interlocked.CompareExchange(ref _place, Signalled, Inside) == Inside)
            Volatile.Read(ref _signal)!.Send();
    }
}
