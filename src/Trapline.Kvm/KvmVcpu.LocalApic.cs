using Trapline.Core;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>The kernel's local APIC in the place of the machine's (api.rst 4.57, 4.58, 4.38, 7.5).</summary>
/// <remarks>
/// Then IPIs, INIT and start-up, timers, CR8 and HLT never leave the kernel; the 8259 pair's interrupts are handed over as ever, and the ends of
/// level-triggered ones come back. A halted vCPU sleeps inside KVM_RUN. The kernel's timer does not stand while the machine does: an interrupt that the
/// guest set for later may come when the machine goes on.
/// </remarks>
public sealed unsafe partial class KvmVcpu : IApicKeeper
{
    private readonly ILentApic? _apic;
    private bool _keepsApic;

    public bool HaltsInside => _apic != null;

    public void TakeOver()
    {
        if (_keepsApic || _apic == null)
            return;
        _keepsApic = true;
        _apic.Lend(this);
    }

    public void GiveBack()
    {
        if (!_keepsApic)
            return;
        _apic!.TakeBack();
        _keepsApic = false;
    }

    ApicRegisters IApicKeeper.Read()
    {
        KvmLocalApic apic;
        KvmCalls.Require(_descriptor, KvmRequest.GetLocalApic, &apic, "KVM_GET_LAPIC");
        uint[] page = new uint[ApicRegisters.Words];
        for (int n = 0; n < page.Length; n++)
            page[n] = apic.Registers[n * KvmLocalApic.Stride];
        GetSpecialRegisters(out KvmSpecialRegisters special);
        ulong deadline = SingleMsr.Read(_descriptor, Msr.TscDeadline);
        return new ApicRegisters(page, special.ApicBase, deadline == 0 ? 0 : Math.Max(deadline - TscLead, 1));
    }

    void IApicKeeper.Write(ApicRegisters registers)
    {
        // The mode decides what the identifier looks like, and the registers what a deadline does.
        GiveApicBase(registers.Base);
        KvmLocalApic apic = default;
        for (int n = 0; n < registers.Page.Length; n++)
            apic.Registers[n * KvmLocalApic.Stride] = registers.Page[n];
        KvmCalls.Require(_descriptor, KvmRequest.SetLocalApic, &apic, "KVM_SET_LAPIC");
        if (registers.TscDeadline != 0)
            SingleMsr.Write(_descriptor, Msr.TscDeadline, registers.TscDeadline + TscLead);
    }

    bool IApicKeeper.Deliver(MsiMessage message) => _vm.Deliver(message);

    void IApicKeeper.WatchEnds(ReadOnlySpan<MsiMessage?> inputs) => _vm.WatchEnds(inputs);

    /// <summary>
    /// What the kernel has noted for the next entry (the end of an interrupt that the machine waits for) comes out. With a signal waiting it looks at its
    /// notes and enters no guest; KVM_RUN's immediate exit is before both.
    /// </summary>
    private void Settle()
    {
        _kick.SignalSelf();
        while (Failure == null && Enter() != KvmCalls.Eintr)
            Complete();
    }

    /// <summary>How far the guest's counter is ahead of the machine's, by which the machine's local APIC counts.</summary>
    private ulong TscLead => _tsc.Reading - _io.TimeStampCounter;

    /// <summary>What the vCPU is doing. The kernel knows, if it lets it sleep.</summary>
    private VcpuActivity Activity
    {
        get
        {
            if (_apic == null || _activity == VcpuActivity.ShutDown)
                return _activity;
            KvmActivity activity;
            KvmCalls.Require(_descriptor, KvmRequest.GetMpState, &activity, "KVM_GET_MP_STATE");
            return activity switch
            {
                KvmActivity.Uninitialized or KvmActivity.InitReceived or KvmActivity.StartUpReceived => VcpuActivity.WaitingForStartUp,
                KvmActivity.Halted => VcpuActivity.Halted,
                _ => VcpuActivity.Running,
            };
        }
    }

    /// <summary>Puts the vCPU to sleep in the kernel, or wakes it.</summary>
    private void SetActivity(VcpuState state)
    {
        _activity = state.Activity;
        if (_apic == null)
            return;
        KvmActivity activity = state.Activity switch
        {
            VcpuActivity.WaitingForStartUp => KvmActivity.InitReceived,
            VcpuActivity.Halted when state.Injected == null => KvmActivity.Halted,
            _ => KvmActivity.Runnable,
        };
        KvmCalls.Require(_descriptor, KvmRequest.SetMpState, &activity, "KVM_SET_MP_STATE");
        if (_activity != VcpuActivity.ShutDown)
            _activity = VcpuActivity.Running;
    }
}
