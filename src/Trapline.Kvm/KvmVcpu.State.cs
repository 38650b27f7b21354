using System.Globalization;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>The exchange of the architectural state with other engines (api.rst 4.11 to 4.14, 4.31 to 4.34).</summary>
public sealed unsafe partial class KvmVcpu
{
    private const ulong Dr6Fixed = 0xFFFF_0FF0, Dr7Fixed = 0x400;

    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI as indices of the first eight of <see cref="KvmRegisters"/>.</summary>
    private static ReadOnlySpan<byte> KernelOrder => [0, 2, 3, 1, 6, 7, 4, 5];

    private VcpuMsrBlock? _msrs;
    private VcpuXsave? _xsave;
    private VcpuState _atReset = new();
    private Held? _held;

    /// <summary>What the kernel has no place for, of an imported state that has not run yet.</summary>
    /// <param name="StiShadow">AMD processors have one shadow, Intel's kernel code takes one.</param>
    /// <param name="PendingDebug">The kernel keeps one exception, injected or pending.</param>
    /// <param name="X87CodeSelector">Processors forget the selectors in 64-bit images.</param>
    /// <param name="CodeIsLong">CS.L means nothing outside long mode, and the kernel refuses it there.</param>
    /// <param name="Pkru">Where the host has no protection keys.</param>
    /// <param name="TimeStampCounter">Where the host cannot move the guest's.</param>
    private sealed record Held(
        bool StiShadow, bool MovSsShadow, ulong PendingDebug, ushort X87CodeSelector, ushort X87DataSelector, bool CodeIsLong, uint? Pkru,
        ulong? TimeStampCounter);

    private void PrepareState()
    {
        ulong banks = VcpuMsrs.MachineCheckBanks;
        KvmCalls.Require(_descriptor, KvmRequest.SetupMachineCheck, &banks, "KVM_X86_SETUP_MCE");
        _msrs = new VcpuMsrBlock(_descriptor, VcpuMsrs.Owned.Where(index => VcpuMsrs.Has(_machineModel, index)));
        _xsave = new VcpuXsave(_descriptor, _vm.Device, _model);
        _atReset = VcpuReset.PowerOn(_machineModel, isBootProcessor: Index == 0);
    }

    private void ReleaseState()
    {
        _msrs?.Dispose();
        _xsave?.Dispose();
    }

    public VcpuState Export()
    {
        Complete();
        KvmRegisters registers;
        GetSpecialRegisters(out KvmSpecialRegisters special);
        KvmDebugRegisters debug;
        KvmExtendedControl extended;
        KvmEvents events;
        KvmCalls.Require(_descriptor, KvmRequest.GetRegisters, &registers, "KVM_GET_REGS");
        KvmCalls.Require(_descriptor, KvmRequest.GetDebugRegisters, &debug, "KVM_GET_DEBUGREGS");
        KvmCalls.Require(_descriptor, KvmRequest.GetExtendedControl, &extended, "KVM_GET_XCRS");
        KvmCalls.Require(_descriptor, KvmRequest.GetEvents, &events, "KVM_GET_VCPU_EVENTS");
        Dictionary<uint, ulong> msrs = [];
        _msrs!.Read(msrs);
        msrs[Msr.Efer] = special.Efer;
        int attention = Volatile.Read(ref _attention);
        SegmentState code = SegmentTranslation.FromKvm(special.Cs);
        bool pendingDebug = events.ExceptionPending != 0 && events.ExceptionVector == Vector.Debug && events.ExceptionHasPayload != 0;
        bool pendingPageFault = events.ExceptionPending != 0 && events.ExceptionVector == Vector.PageFault && events.ExceptionHasPayload != 0;
        return new VcpuState
        {
            General = GetGeneral(registers),
            Rip = registers.Rip,
            Rflags = registers.Rflags,
            Segments =
            [
                SegmentTranslation.FromKvm(special.Es), _held?.CodeIsLong == true ? code with { Attributes = code.Attributes | SegmentAttributes.Long } : code, SegmentTranslation.FromKvm(special.Ss),
                SegmentTranslation.FromKvm(special.Ds), SegmentTranslation.FromKvm(special.Fs), SegmentTranslation.FromKvm(special.Gs),
                SegmentTranslation.FromKvm(special.Ldtr), SegmentTranslation.FromKvm(special.Tr),
            ],
            Gdtr = new TableState(special.Gdtr.Base, special.Gdtr.Limit),
            Idtr = new TableState(special.Idtr.Base, special.Idtr.Limit),
            Cr0 = special.Cr0,
            Cr2 = pendingPageFault ? events.ExceptionPayload : special.Cr2,
            Cr3 = special.Cr3,
            Cr4 = special.Cr4,
            Cr8 = _keepsApic ? special.Cr8 : _io.ReadCr8(Index),
            Xcr0 = extended.Xcr0,
            Debug = [debug.Address[0], debug.Address[1], debug.Address[2], debug.Address[3], debug.Dr6, debug.Dr7],
            Pdptes = (special.Flags & KvmSpecialRegisters.HasPdptes) != 0 ? [special.Pdptes[0], special.Pdptes[1], special.Pdptes[2], special.Pdptes[3]] : [],
            Msrs = msrs,
            Xsave = _xsave!.Read(out uint pkru),
            Pkru = _held?.Pkru ?? pkru,
            X87CodeSelector = _held?.X87CodeSelector ?? 0,
            X87DataSelector = _held?.X87DataSelector ?? 0,
            Activity = Activity,
            StiShadow = _held?.StiShadow ?? (events.Shadow & KvmEvents.StiShadow) != 0,
            MovSsShadow = _held?.MovSsShadow ?? (events.Shadow & KvmEvents.MovSsShadow) != 0,
            NmiPending = events.NmiPending != 0 || (attention & AttentionNmi) != 0,
            NmiBlocked = events.NmiMasked != 0,
            InitPending = (attention & AttentionInit) != 0,
            StartUpVector = (attention & AttentionStartUp) != 0 ? (byte)_startUpVector : null,
            Injected = GetInjected(events, pendingDebug),
            PendingDebug = pendingDebug ? events.ExceptionPayload : _held?.PendingDebug ?? 0,
            TimeStampCounter = _held?.TimeStampCounter ?? _tsc.Value,
        };
    }

    public void Import(VcpuState state)
    {
        Check(state);
        // What the state before asked for is forgotten with it.
        Interlocked.And(ref _attention, AttentionKick);
        Replace(state);
    }

    /// <summary>Replaces the state; what asks for attention meanwhile stays.</summary>
    /// <param name="isNew">The engine is being made, perhaps while another runs the vCPU: nobody else hears of it.</param>
    private void Replace(VcpuState state, bool isNew = false)
    {
        Complete();
        SetSpecialRegisters(state);
        KvmExtendedControl extended = new() { Count = 1, Xcr0 = state.Xcr0 };
        KvmCalls.Require(_descriptor, KvmRequest.SetExtendedControl, &extended, "KVM_SET_XCRS");
        _xsave!.Write(state.Xsave.Length > 0 ? state.Xsave : _atReset.Xsave, state.Pkru);
        _msrs!.Write(state.Msrs, index => _atReset.Msrs.GetValueOrDefault(index));
        SetGeneral(state);
        KvmDebugRegisters debug = new() { Dr6 = state.Debug[4] | Dr6Fixed, Dr7 = state.Debug[5] | Dr7Fixed };
        for (int i = 0; i < 4; i++)
            debug.Address[i] = state.Debug[i];
        KvmCalls.Require(_descriptor, KvmRequest.SetDebugRegisters, &debug, "KVM_SET_DEBUGREGS");
        SetEvents(state);
        CheckTaken(state);
        if (_tsc.CanMove)
            _tsc.Value = state.TimeStampCounter;
        // CR8 shows half of the task priority register, whose other half a write would clear.
        if (!isNew && !_keepsApic && _io.ReadCr8(Index) != (byte)state.Cr8)
            _io.WriteCr8(Index, (byte)state.Cr8);
        _taskPriority = (byte)state.Cr8;
        _run->Cr8 = state.Cr8;
        SetActivity(state);
        _nmiGiven = state.NmiPending;
        // The kernel will say, when the guest runs, whether interrupts can be delivered; a halted guest does not run.
        _interruptible = _apic == null && state.Activity == VcpuActivity.Halted && (state.Rflags & Rflags.If) != 0;
        Request(AttentionInterrupt | (state.Injected != null || (state.NmiPending && !state.NmiBlocked) ? AttentionInjected : 0) | (state.InitPending ? AttentionInit : 0));
        if (state.StartUpVector is { } vector)
            StartUp(vector);
    }

    private void Check(VcpuState state)
    {
        VcpuStateRules.Check(state, _machineModel);
        Require(state.Cr4 & ~_model.Cr4Bits, "CR4");
        Require(state.Xcr0 & ~_model.Xcr0Bits, "XCR0");
        Require(state.Msrs.GetValueOrDefault(Msr.Efer) & ~_model.EferBits, "EFER");

        static void Require(ulong foreign, string register)
        {
            if (foreign != 0)
                throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"this host's KVM has not all that {register} has enabled: bits {foreign:x}"), nameof(state));
        }
    }

    /// <summary>Some hosts take a mode that they do not have, and quietly make another of it.</summary>
    private void CheckTaken(VcpuState state)
    {
        GetSpecialRegisters(out KvmSpecialRegisters special);
        KvmRegisters registers;
        KvmCalls.Require(_descriptor, KvmRequest.GetRegisters, &registers, "KVM_GET_REGS");
        Require(state.Cr0 | Cr0.Et, special.Cr0, "CR0");
        Require(state.Cr4, special.Cr4, "CR4");
        Require(state.Msrs.GetValueOrDefault(Msr.Efer), special.Efer, "EFER");
        Require(state.Rflags, registers.Rflags, "RFLAGS");

        static void Require(ulong wanted, ulong taken, string register)
        {
            if (wanted != taken)
                throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"this host's KVM makes {taken:x} of {register} {wanted:x}"), nameof(state));
        }
    }

    private void SetSpecialRegisters(VcpuState state)
    {
        KvmSpecialRegisters special = new()
        {
            Es = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Es]),
            Cs = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Cs]),
            Ss = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Ss]),
            Ds = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Ds]),
            Fs = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Fs]),
            Gs = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Gs]),
            Ldtr = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Ldtr]),
            Tr = SegmentTranslation.ToKvm(state.Segments[SegmentIndex.Tr]),
            Gdtr = new KvmTable { Base = state.Gdtr.Base, Limit = state.Gdtr.Limit },
            Idtr = new KvmTable { Base = state.Idtr.Base, Limit = state.Idtr.Limit },
            Cr0 = state.Cr0 | Cr0.Et,
            Cr2 = state.Cr2,
            Cr3 = state.Cr3,
            Cr4 = state.Cr4,
            Cr8 = state.Cr8,
            Efer = state.Msrs.GetValueOrDefault(Msr.Efer),
            ApicBase = ApicBase,
        };
        if (HasStrayLong(state))
            special.Cs.Long = 0;
        bool canLong = _vm.Device.Check(KvmCapability.SpecialRegisters2) != 0;
        if (state.Pdptes.Length > 0 && canLong)
        {
            special.Flags = KvmSpecialRegisters.HasPdptes;
            for (int i = 0; i < 4; i++)
                special.Pdptes[i] = state.Pdptes[i];
        }
        if (KvmCalls.Control(_descriptor, canLong ? KvmRequest.SetSpecialRegisters2 : KvmRequest.SetSpecialRegisters, &special) < 0)
        {
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture,
                $"this host's KVM does not take CR0 {state.Cr0:x}, CR3 {state.Cr3:x}, CR4 {state.Cr4:x}, EFER {special.Efer:x} together"), nameof(state));
        }
    }

    private static bool HasStrayLong(VcpuState state) =>
        (state.Segments[SegmentIndex.Cs].Attributes & SegmentAttributes.Long) != 0 && (state.Msrs.GetValueOrDefault(Msr.Efer) & Efer.Lma) == 0;

    private ulong ApicBase
    {
        get
        {
            if (!_keepsApic)
                return _io.ReadMsr(Index, Msr.ApicBase, out ulong machines) ? machines : 0;
            GetSpecialRegisters(out KvmSpecialRegisters special);
            return special.ApicBase;
        }
    }

    /// <summary>The kernel shows CPUID's APIC bit by its own copy of IA32_APIC_BASE.</summary>
    private void GiveApicBase(ulong value)
    {
        KvmSpecialRegisters special;
        KvmCalls.Require(_descriptor, KvmRequest.GetSpecialRegisters, &special, "KVM_GET_SREGS");
        special.ApicBase = value;
        special.Flags = 0; // no queued interrupts
        special.Pdptes[0] = special.Pdptes[1] = special.Pdptes[2] = 0;
        KvmCalls.Require(_descriptor, KvmRequest.SetSpecialRegisters, &special, "KVM_SET_SREGS");
    }

    private void GetSpecialRegisters(out KvmSpecialRegisters special)
    {
        KvmSpecialRegisters registers;
        if (_vm.Device.Check(KvmCapability.SpecialRegisters2) != 0)
        {
            KvmCalls.Require(_descriptor, KvmRequest.GetSpecialRegisters2, &registers, "KVM_GET_SREGS2");
        }
        else
        {
            KvmCalls.Require(_descriptor, KvmRequest.GetSpecialRegisters, &registers, "KVM_GET_SREGS");
            registers.Flags = 0;
        }
        special = registers;
    }

    private static InjectedEvent? GetInjected(in KvmEvents events, bool pendingDebug)
    {
        if (events.ExceptionInjected != 0 || (events.ExceptionPending != 0 && !pendingDebug))
            return new InjectedEvent(InjectedKind.Exception, events.ExceptionVector, events.ExceptionHasErrorCode != 0 ? events.ExceptionErrorCode : null);
        if (events.NmiInjected != 0)
            return new InjectedEvent(InjectedKind.NonMaskable, Vector.Nmi);
        // A software interrupt's instruction runs again.
        return events.InterruptInjected != 0 && events.InterruptIsSoftware == 0 ? new InjectedEvent(InjectedKind.ExternalInterrupt, events.InterruptVector) : null;
    }

    private static ulong[] GetGeneral(in KvmRegisters registers)
    {
        ulong[] general = new ulong[16];
        fixed (KvmRegisters* r = &registers)
        {
            ulong* values = (ulong*)r;
            for (int i = 0; i < 8; i++)
                general[i] = values[KernelOrder[i]];
            for (int i = 8; i < 16; i++)
                general[i] = values[i];
        }
        return general;
    }

    private void SetGeneral(VcpuState state)
    {
        KvmRegisters registers = new() { Rip = state.Rip, Rflags = state.Rflags };
        ulong* values = (ulong*)&registers;
        for (int i = 0; i < 8; i++)
            values[KernelOrder[i]] = state.General[i];
        for (int i = 8; i < 16; i++)
            values[i] = state.General[i];
        KvmCalls.Require(_descriptor, KvmRequest.SetRegisters, &registers, "KVM_SET_REGS");
    }

    private void SetEvents(VcpuState state)
    {
        KvmEvents events = new()
        {
            Flags = KvmEvents.NmiPendingValid | KvmEvents.ShadowValid,
            NmiPending = (byte)(state.NmiPending ? 1 : 0),
            NmiMasked = (byte)(state.NmiBlocked ? 1 : 0),
            Shadow = (byte)((state.StiShadow ? KvmEvents.StiShadow : 0) | (state.MovSsShadow ? KvmEvents.MovSsShadow : 0)),
        };
        switch (state.Injected)
        {
            case { Kind: InjectedKind.Exception } exception:
                events.ExceptionInjected = 1;
                events.ExceptionVector = exception.Vector;
                events.ExceptionHasErrorCode = (byte)(exception.ErrorCode is null ? 0 : 1);
                events.ExceptionErrorCode = exception.ErrorCode ?? 0;
                break;
            case { Kind: InjectedKind.NonMaskable }:
                events.NmiInjected = 1;
                break;
            case { } interrupt:
                events.InterruptInjected = 1;
                events.InterruptVector = interrupt.Vector;
                break;
        }
        bool keepsDebug = state.PendingDebug != 0 && events.ExceptionInjected == 0 && _vm.HasExceptionPayload;
        if (_vm.HasExceptionPayload)
            events.Flags |= KvmEvents.PayloadValid;
        if (keepsDebug)
        {
            events.ExceptionPending = 1;
            events.ExceptionVector = Vector.Debug;
            events.ExceptionHasPayload = 1;
            events.ExceptionPayload = state.PendingDebug;
        }
        _held = new Held(
            state.StiShadow, state.MovSsShadow, keepsDebug ? 0 : state.PendingDebug, state.X87CodeSelector, state.X87DataSelector,
            HasStrayLong(state), _model.Has(Feature.Pku) ? null : state.Pkru, _tsc.CanMove ? null : state.TimeStampCounter);
        KvmCalls.Require(_descriptor, KvmRequest.SetEvents, &events, "KVM_SET_VCPU_EVENTS");
    }
}
