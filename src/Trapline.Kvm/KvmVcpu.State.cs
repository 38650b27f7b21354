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

    /// <summary>MSRs that travel in <see cref="VcpuState.Msrs"/>; EFER goes with the control registers.</summary>
    private static readonly uint[] StateMsrs =
    [
        Msr.TscAdjust, Msr.SpecCtrl, Msr.SysenterCs, Msr.SysenterEsp, Msr.SysenterEip, Msr.MiscEnable, Msr.DebugCtl, Msr.Pat,
        Msr.Xss, Msr.Star, Msr.Lstar, Msr.Cstar, Msr.Fmask, Msr.KernelGsBase, Msr.TscAux,
    ];

    private VcpuMsrBlock? _msrs;
    private VcpuXsave? _xsave;
    private Dictionary<uint, ulong> _msrsAtReset = [];

    private void PrepareState()
    {
        _msrs = new VcpuMsrBlock(_descriptor, StateMsrs);
        _xsave = new VcpuXsave(_descriptor, _vm.Device, _model);
        _msrsAtReset = new Dictionary<uint, ulong>(VcpuReset.PowerOn(_model, isBootProcessor: true).Msrs);
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
        KvmSpecialRegisters special;
        KvmDebugRegisters debug;
        KvmExtendedControl extended;
        KvmEvents events;
        KvmCalls.Require(_descriptor, KvmRequest.GetRegisters, &registers, "KVM_GET_REGS");
        KvmCalls.Require(_descriptor, KvmRequest.GetSpecialRegisters, &special, "KVM_GET_SREGS");
        KvmCalls.Require(_descriptor, KvmRequest.GetDebugRegisters, &debug, "KVM_GET_DEBUGREGS");
        KvmCalls.Require(_descriptor, KvmRequest.GetExtendedControl, &extended, "KVM_GET_XCRS");
        KvmCalls.Require(_descriptor, KvmRequest.GetEvents, &events, "KVM_GET_VCPU_EVENTS");
        Dictionary<uint, ulong> msrs = new() { [Msr.Efer] = special.Efer };
        _msrs!.Read(msrs);
        bool pendingDebug = events.ExceptionPending != 0 && events.ExceptionVector == Vector.Debug && events.ExceptionHasPayload != 0;
        return new VcpuState
        {
            General = GetGeneral(registers),
            Rip = registers.Rip,
            Rflags = registers.Rflags,
            Segments =
            [
                SegmentTranslation.FromKvm(special.Es), SegmentTranslation.FromKvm(special.Cs), SegmentTranslation.FromKvm(special.Ss),
                SegmentTranslation.FromKvm(special.Ds), SegmentTranslation.FromKvm(special.Fs), SegmentTranslation.FromKvm(special.Gs),
                SegmentTranslation.FromKvm(special.Ldtr), SegmentTranslation.FromKvm(special.Tr),
            ],
            Gdtr = new TableState(special.Gdtr.Base, special.Gdtr.Limit),
            Idtr = new TableState(special.Idtr.Base, special.Idtr.Limit),
            Cr0 = special.Cr0,
            Cr2 = special.Cr2,
            Cr3 = special.Cr3,
            Cr4 = special.Cr4,
            Cr8 = _io.ReadCr8(Index),
            Xcr0 = extended.Xcr0,
            Debug = [debug.Address[0], debug.Address[1], debug.Address[2], debug.Address[3], debug.Dr6, debug.Dr7],
            Msrs = msrs,
            Xsave = _xsave!.Read(out uint pkru),
            Pkru = pkru,
            Activity = _activity,
            StiShadow = (events.Shadow & KvmEvents.StiShadow) != 0,
            MovSsShadow = (events.Shadow & KvmEvents.MovSsShadow) != 0,
            NmiPending = events.NmiPending != 0 || (Volatile.Read(ref _attention) & AttentionNmi) != 0,
            NmiBlocked = events.NmiMasked != 0,
            PendingDebug = pendingDebug ? events.ExceptionPayload : 0,
            TimeStampCounter = _tsc.Value,
        };
    }

    public void Import(VcpuState state)
    {
        Check(state);
        Complete();
        SetSpecialRegisters(state);
        KvmExtendedControl extended = new() { Count = 1, Xcr0 = state.Xcr0 };
        KvmCalls.Require(_descriptor, KvmRequest.SetExtendedControl, &extended, "KVM_SET_XCRS");
        byte[] xsave = state.Xsave.Length > 0 ? state.Xsave : VcpuReset.PowerOn(_model, isBootProcessor: true).Xsave;
        _xsave!.Write(xsave, state.Pkru, _model.Xcr0Bits);
        _msrs!.Write(state.Msrs, index => _msrsAtReset.GetValueOrDefault(index));
        SetGeneral(state);
        KvmDebugRegisters debug = new() { Dr6 = state.Debug[4] | Dr6Fixed, Dr7 = state.Debug[5] | Dr7Fixed };
        for (int i = 0; i < 4; i++)
            debug.Address[i] = state.Debug[i];
        KvmCalls.Require(_descriptor, KvmRequest.SetDebugRegisters, &debug, "KVM_SET_DEBUGREGS");
        SetEvents(state);
        _tsc.Value = state.TimeStampCounter;
        _io.WriteCr8(Index, (byte)state.Cr8);
        _taskPriority = (byte)state.Cr8;
        _run->Cr8 = state.Cr8;
        _activity = state.Activity;
        // The kernel will say, when the guest runs, whether interrupts can be delivered; a halted guest does not run.
        _interruptible = state.Activity == VcpuActivity.Halted && (state.Rflags & Rflags.If) != 0;
        Interlocked.Or(ref _attention, AttentionInterrupt);
    }

    private void Check(VcpuState state)
    {
        Require(state.General.Length == 16 && state.Segments.Length == 8 && state.Debug.Length == 6, "the state lacks registers");
        Require(state.Xsave.Length is 0 or >= XsaveLayout.AvxOffset + XsaveLayout.AvxSize, "the XSAVE image is too short");
        Require((state.Xcr0 & ~_model.Xcr0Bits) == 0, string.Create(CultureInfo.InvariantCulture, $"XCR0 {state.Xcr0:x} has components that this host's KVM lacks"));

        static void Require(bool holds, string message)
        {
            if (!holds)
                throw new ArgumentException(message, nameof(state));
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
            ApicBase = _io.ReadMsr(Index, Msr.ApicBase, out ulong apicBase) ? apicBase : 0,
        };
        if (KvmCalls.Control(_descriptor, KvmRequest.SetSpecialRegisters, &special) < 0)
        {
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture,
                $"this host's KVM does not take CR0 {state.Cr0:x}, CR3 {state.Cr3:x}, CR4 {state.Cr4:x}, EFER {special.Efer:x} together"), nameof(state));
        }
    }

    /// <summary>The kernel shows CPUID's APIC bit by its own copy of IA32_APIC_BASE.</summary>
    private void GiveApicBase(ulong value)
    {
        KvmSpecialRegisters special;
        KvmCalls.Require(_descriptor, KvmRequest.GetSpecialRegisters, &special, "KVM_GET_SREGS");
        special.ApicBase = value;
        KvmCalls.Require(_descriptor, KvmRequest.SetSpecialRegisters, &special, "KVM_SET_SREGS");
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
        if (_vm.HasExceptionPayload)
        {
            events.Flags |= KvmEvents.PayloadValid;
            if (state.PendingDebug != 0)
            {
                events.ExceptionPending = 1;
                events.ExceptionVector = Vector.Debug;
                events.ExceptionHasPayload = 1;
                events.ExceptionPayload = state.PendingDebug;
            }
        }
        KvmCalls.Require(_descriptor, KvmRequest.SetEvents, &events, "KVM_SET_VCPU_EVENTS");
    }
}
