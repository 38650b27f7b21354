using System.Globalization;
using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Host;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>One vCPU in the processor's non-root mode, through the host's KVM.</summary>
/// <remarks>
/// Where local APICs are the machine's, interrupts are taken from the <see cref="IInterruptSource"/> and handed to the kernel one by one, CR8 is kept in
/// step, and INIT and start-up are done by importing the state that they lead to. Unsafe because the run page is shared with the kernel: it is mapped as
/// long as the vCPU lives, and only fields of <see cref="KvmRun"/> and data within the mapping are touched.
/// One file per concern: the loop (here), exits, events, state, the kernel's local APIC.
/// </remarks>
public sealed unsafe partial class KvmVcpu : IVcpuEngine
{
    private readonly KvmVm _vm;
    private readonly CpuModel _machineModel;
    private readonly CpuModel _model;
    private readonly IIoSeam _io;
    private readonly IInterruptSource _interrupts;
    private readonly int _descriptor;
    private readonly KvmRun* _run;
    private readonly VcpuKick _kick = new();
    private readonly VcpuTsc _tsc;
    private long _instructionExits, _entries, _interruptsDelivered;
    private VcpuActivity _activity;

    /// <summary>The last exit's instruction is finished by entering the kernel again (api.rst 5, "complete_userspace_io").</summary>
    private bool _incomplete;
    private bool _disposed;

    /// <param name="vm">Shared by the machine's vCPUs; outlives them.</param>
    /// <param name="index">A number that no other engine uses now.</param>
    /// <param name="count">How many vCPUs the machine has.</param>
    /// <param name="apic">The machine's local APIC, which the kernel's replaces if <paramref name="vm"/> has some.</param>
    /// <exception cref="KvmException">The host refused.</exception>
    public KvmVcpu(KvmVm vm, int index, int count, CpuModel model, IIoSeam io, IInterruptSource interrupts, ILentApic? apic = null)
    {
        _apic = vm.HasLocalApics ? apic ?? throw new ArgumentNullException(nameof(apic)) : null;
        (_vm, Index, _machineModel, _io, _interrupts) = (vm, index, model, io, interrupts);
        _model = GuestCpuid.Restrict(model, vm.Device, VcpuTsc.IsModels(vm.Device, model));
        _descriptor = vm.GetVcpu(index, vcpu => GuestCpuid.Entries(_model, vm.Device, (uint)index, count, VcpuTsc.SetFrequency(vcpu, vm.Device, model)));
        try
        {
            _run = (KvmRun*)KvmCalls.MapShared(_descriptor, vm.Device.RunPagesLength);
            _tsc = new VcpuTsc(_descriptor, io, model, vm.Device);
            PrepareState();
            Replace(_atReset, isNew: true);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Which vCPU of its machine this is.</summary>
    public int Index { get; }

    /// <summary>The model less what the host's KVM cannot give.</summary>
    public CpuModel Model => _model;

    public bool SeesEverything => false;

    /// <summary>Of instructions only those are known that left the kernel.</summary>
    public EngineCounters Counters => new() { Instructions = _instructionExits, Interrupts = _interruptsDelivered };

    public IReadOnlyList<EngineDetail> Details => [new("kvm", "entries into the guest", _entries)];

    /// <summary>Why <see cref="Run"/> returned <see cref="StopReason.Failed"/>.</summary>
    public string? Failure { get; private set; }

    public StopReason Run()
    {
        if (_kick.Adopt() is { } mask)
            SetSignalMask(mask);
        _tsc.Follow();
        for (; ; )
        {
            if (Volatile.Read(ref _attention) != 0 && Attend() is { } reason)
                return reason;
            if (_activity != VcpuActivity.Running || Failure != null)
            {
                if (Failure != null)
                    return StopReason.Failed;
                if (_activity == VcpuActivity.ShutDown)
                    return StopReason.TripleFault;
                if (Volatile.Read(ref _attention) != 0)
                    continue;
                return _activity == VcpuActivity.Halted ? StopReason.Halted : StopReason.WaitingForStartUp;
            }
            OfferInterrupt();
            _kick.Enter();
            if (Volatile.Read(ref _attention) != 0)
            {
                _kick.Leave();
                continue;
            }
            int error = EnterKernel();
            _kick.Leave();
            AfterEntry(error);
        }
    }

    /// <summary>KVM_RUN and what it came back with. errno, or 0.</summary>
    private int Enter()
    {
        int error = EnterKernel();
        AfterEntry(error);
        return error;
    }

    /// <summary>KVM_RUN alone. errno, or 0.</summary>
    private int EnterKernel() => KvmCalls.Control(_descriptor, KvmRequest.Run, null) < 0 ? Marshal.GetLastPInvokeError() : 0;

    public void Reset() => Import(VcpuReset.PowerOn(_machineModel, isBootProcessor: Index == 0));

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        if (_run != null)
            KvmCalls.Unmap(_run, _vm.Device.RunPagesLength);
        ReleaseState();
    }

    /// <summary>Looks at what KVM_RUN came back with.</summary>
    private void AfterEntry(int error)
    {
        _incomplete = false;
        _held = null;
        _entries++;
        TakeTaskPriority();
        _interruptible = _run->ReadyForInterrupt != 0 && _run->InterruptFlag != 0;
        if (error == 0)
            HandleExit();
        else if (error == KvmCalls.Eintr)
            VcpuKick.Interrupted();
        else if (error != KvmCalls.Eagain)
            Fail(string.Create(CultureInfo.InvariantCulture, $"KVM_RUN: {new KvmException("errno", error).Message}"));
    }

    /// <summary>Finishes the instruction of the last exit without running another: the state is whole after this.</summary>
    private void Complete()
    {
        while (_incomplete)
        {
            _run->ImmediateExit = 1;
            Enter();
            _run->ImmediateExit = 0;
        }
    }

    private void Fail(string why) => Failure ??= why;

    private void SetSignalMask(ulong mask)
    {
        // struct kvm_signal_mask: the size of the kernel's own mask, then the mask.
        byte* argument = stackalloc byte[sizeof(uint) + sizeof(ulong)];
        *(uint*)argument = sizeof(ulong);
        *(ulong*)(argument + sizeof(uint)) = mask;
        KvmCalls.Require(_descriptor, KvmRequest.SetSignalMask, argument, "KVM_SET_SIGNAL_MASK");
    }
}
