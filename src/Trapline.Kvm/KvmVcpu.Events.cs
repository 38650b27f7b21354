using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>What asks a vCPU for attention, and how interrupts reach the guest (api.rst 4.16 KVM_INTERRUPT, 4.64 KVM_NMI; SDM Vol. 3, 6.9).</summary>
public sealed unsafe partial class KvmVcpu
{
    private const int AttentionKick = 1;
    private const int AttentionInterrupt = 2;
    private const int AttentionNmi = 4;
    private const int AttentionInit = 8;
    private const int AttentionStartUp = 16;
    /// <summary>An imported event waits in the kernel for the guest to run.</summary>
    private const int AttentionInjected = 32;

    private int _attention;
    private int _startUpVector;

    /// <summary>The kernel was given an NMI, and may not have delivered it.</summary>
    private bool _nmiGiven;

    /// <summary>The guest would take an interrupt now.</summary>
    private bool _interruptible;

    /// <summary>The task priority as the machine's local APIC was last told, or told us.</summary>
    private byte _taskPriority;

    public bool HasWork => Volatile.Read(ref _attention) != 0;

    public void Kick() => Request(AttentionKick);

    public void InterruptPending() => Request(AttentionInterrupt);

    public void NonMaskableInterrupt() => Request(AttentionNmi);

    public void Init() => Request(AttentionInit);

    public void StartUp(byte vector)
    {
        Volatile.Write(ref _startUpVector, vector);
        Request(AttentionStartUp);
    }

    private void Request(int bit)
    {
        // A full fence: the request is seen before the place is looked at.
        Interlocked.Or(ref _attention, bit);
        _kick.Send();
    }

    /// <summary>Serves every request, by priority. A stop reason leaves <see cref="Run"/>.</summary>
    private StopReason? Attend()
    {
        int bits = Interlocked.Exchange(ref _attention, 0);
        if ((bits & AttentionKick) != 0)
        {
            // What else was asked for is served by the next run.
            if ((bits &= ~AttentionKick) != 0)
                Interlocked.Or(ref _attention, bits);
            Complete();
            if (_apic != null)
                Settle();
            return StopReason.Kicked;
        }
        if ((bits & AttentionInit) != 0)
            Replace(VcpuReset.Init(Export(), _machineModel, isBootProcessor: Index == 0));
        if ((bits & AttentionStartUp) != 0 && Activity == VcpuActivity.WaitingForStartUp)
            Replace(VcpuReset.StartUp(Export(), (byte)_startUpVector));
        if (_activity is VcpuActivity.WaitingForStartUp or VcpuActivity.ShutDown)
            return null;
        if ((bits & AttentionInjected) != 0)
            _activity = VcpuActivity.Running;
        if ((bits & AttentionNmi) != 0)
        {
            KvmCalls.Require(_descriptor, KvmRequest.Nmi, null, "KVM_NMI");
            _nmiGiven = true;
            WakeByNmi();
        }
        // A halted vCPU with interrupts off sleeps on (SDM Vol. 2, HLT); any other is offered the interrupt before it enters.
        if ((bits & AttentionInterrupt) != 0 && _activity == VcpuActivity.Halted && _interruptible && _interrupts.Pending)
            _activity = VcpuActivity.Running;
        return null;
    }

    /// <summary>A halted vCPU runs on if the kernel has an NMI for it that is not blocked: one may have come to the kernel before the HLT did.</summary>
    private void WakeByNmi()
    {
        if (!_nmiGiven || _activity != VcpuActivity.Halted)
            return;
        KvmEvents events;
        KvmCalls.Require(_descriptor, KvmRequest.GetEvents, &events, "KVM_GET_VCPU_EVENTS");
        _nmiGiven = events.NmiPending != 0;
        if (_nmiGiven && events.NmiMasked == 0)
            _activity = VcpuActivity.Running;
    }

    /// <summary>Hands the kernel an interrupt if the guest takes it now; else asks to be told when it does.</summary>
    private void OfferInterrupt()
    {
        _run->RequestInterruptWindow = 0;
        if (!_interrupts.Pending)
            return;
        if (_interruptible)
        {
            int vector = _interrupts.Acknowledge();
            if (vector >= 0)
            {
                uint argument = (uint)vector;
                KvmCalls.Require(_descriptor, KvmRequest.Interrupt, &argument, "KVM_INTERRUPT");
                _interruptsDelivered++;
                _interruptible = false;
            }
            if (!_interrupts.Pending)
                return;
        }
        _run->RequestInterruptWindow = 1;
    }

    /// <summary>MOV to CR8 that raises the priority does not exit: the machine hears of it at the next exit, before it is asked for an interrupt.</summary>
    private void TakeTaskPriority()
    {
        if (_apic != null)
            return;
        byte priority = (byte)(_run->Cr8 & 0xF);
        if (priority == _taskPriority)
            return;
        _taskPriority = priority;
        _io.WriteCr8(Index, priority);
    }

    /// <summary>The guest may have written its task priority through the local APIC's page or MSR.</summary>
    private void GiveTaskPriority()
    {
        _taskPriority = _io.ReadCr8(Index);
        _run->Cr8 = _taskPriority;
    }
}
