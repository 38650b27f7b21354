using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>DR6 bits (SDM Vol. 3, 17.2.3).</summary>
public static class DebugStatus
{
    public const ulong RegisterAccess = 1 << 13;
    public const ulong SingleStep = 1 << 14;
    public const ulong TaskSwitch = 1 << 15;

    /// <summary>Bits that always read as one.</summary>
    public const ulong Fixed = 0xFFFF_0FF0;

    public const ulong Breakpoints = 0xF;
}

/// <summary>Delivery of exceptions and interrupts through the IVT, the IDT and gates (SDM Vol. 3, chapter 6).</summary>
public sealed unsafe partial class SoftwareVcpu
{
    private const ulong GeneralDetect = 1ul << 13;

    /// <summary>Where an event came from: this decides about DPL checks and the EXT bit of error codes.</summary>
    private enum EventSource
    {
        /// <summary>An exception, an external interrupt, an NMI, INT1: no DPL check; EXT is set in error codes.</summary>
        External,
        /// <summary>INT n, INT3, INTO: the gate's DPL must admit the caller; EXT is clear.</summary>
        Software,
    }

    /// <summary>Delivers a fault. <see cref="Status.Fault"/>: delivering it faulted in turn, and that fault is pending.</summary>
    private int DeliverFault(PendingFault fault)
    {
        CpuState* s = State;
        _delivering = fault.Vector;
        // RF in the saved image: set for faults, so that the instruction can be restarted past its breakpoint, but not for the breakpoint itself.
        bool restart = fault.Vector is not (Vector.DoubleFault or Vector.MachineCheck);
        if (fault.Vector == Vector.PageFault)
            s->Cr2 = fault.Address;
        if (fault.Vector == Vector.Debug)
        {
            restart = (s->PendingDebug & DebugStatus.Breakpoints) == 0;
            TakePendingDebug();
        }
        else
        {
            s->PendingDebug = 0; // what the faulting instruction had matched will match again
        }
        s->StiShadow = s->MovSsShadow = 0;
        ulong flags = Flags.Get(s) & ~Rflags.Rf;
        return DeliverEvent(fault.Vector, EventSource.External, fault.HasErrorCode, fault.ErrorCode, s->Rip, restart ? flags | Rflags.Rf : flags);
    }

    /// <summary>DR6 tells what happened; #DB clears DR7.GD and the branch-tracing bits (SDM Vol. 3, 17.2.3 and 17.4.3).</summary>
    private void TakePendingDebug()
    {
        CpuState* s = State;
        s->Dr[6] = (s->Dr[6] & ~DebugStatus.Breakpoints) | s->PendingDebug | DebugStatus.Fixed;
        s->PendingDebug = 0;
        s->Dr[7] &= ~GeneralDetect;
        s->DebugCtl &= ~3ul;
    }

    private void DeliverPendingDebug()
    {
        TakePendingDebug();
        _exceptions++;
        DeliverOutside(Vector.Debug);
    }

    private void DeliverNmi()
    {
        State->NmiBlocked = 1;
        DeliverOutside(Vector.Nmi);
    }

    private void DeliverExternal(byte vector) => DeliverOutside(vector);

    /// <summary>Delivers an event that arrived between two instructions; a fault on the way is delivered in its stead.</summary>
    private void DeliverOutside(byte vector)
    {
        CpuState* s = State;
        s->StiShadow = s->MovSsShadow = 0;
        _delivering = vector == Vector.Debug ? vector : Vector.Nmi; // benign, whatever the number of an external interrupt
        if (DeliverEvent(vector, EventSource.External, false, 0, s->Rip, Flags.Get(s)) == Status.Fault)
            Deliver();
    }

    /// <summary>Delivers what another engine had accepted: its side effects have happened there. A shadow holds off nothing that was accepted.</summary>
    private void DeliverInjected(InjectedEvent injected)
    {
        CpuState* s = State;
        bool exception = injected.Kind == InjectedKind.Exception;
        if (injected.Kind == InjectedKind.NonMaskable)
            s->NmiBlocked = 1;
        if (exception)
            _exceptions++;
        else if (injected.Kind == InjectedKind.ExternalInterrupt)
            _interruptsDelivered++;
        s->StiShadow = s->MovSsShadow = 0;
        _delivering = exception ? injected.Vector : Vector.Nmi;
        if (DeliverEvent(injected.Vector, EventSource.External, injected.ErrorCode is not null, injected.ErrorCode ?? 0, s->Rip, Flags.Get(s)) != Status.Fault)
            return;
        if (_delivering == Vector.DoubleFault)
        {
            _activity = VcpuActivity.ShutDown;
            return;
        }
        Escalate();
        Deliver();
    }

    /// <summary>INT n from a handler. On success the handler returns <see cref="Status.BlockEnd"/> through this.</summary>
    internal int SoftwareInterrupt(byte vector, ulong nextRip)
    {
        CpuState* s = State;
        if (Virtual8086)
        {
            bool trusted = (s->RFlags & Rflags.Iopl) == Rflags.Iopl;
            if ((s->Cr4 & Cr4.Vme) != 0)
            {
                if (!InterruptIsRedirected(vector, out bool redirected))
                    return Status.Fault;
                if (redirected)
                    return DeliverWithinTask(vector, nextRip);
            }
            if (!trusted)
                return GeneralProtection();
        }
        return Trap(vector, nextRip);
    }

    /// <summary>INT3 and INTO: like INT n, but virtual-8086 mode has no say.</summary>
    internal int Trap(byte vector, ulong nextRip) =>
        Settle(DeliverEvent(vector, EventSource.Software, false, 0, nextRip, Flags.Get(State) & ~Rflags.Rf));

    /// <summary>INT1: #DB without DPL check. It adds nothing to DR6, but what a MOV SS held back arrives with it.</summary>
    internal int DebugTrap(ulong nextRip)
    {
        int status = DeliverEvent(Vector.Debug, EventSource.External, false, 0, nextRip, Flags.Get(State) & ~Rflags.Rf);
        if (status != Status.Fault)
            TakePendingDebug();
        return Settle(status);
    }

    /// <summary>What an instruction that delivered an event returns. A fault after a task switch belongs to the new task and goes there at once.</summary>
    internal int Settle(int status)
    {
        _trapSuppressed = true;
        if (status != Status.Fault)
            return Status.BlockEnd;
        if (!_taskCommitted)
            return Status.Fault;
        Deliver();
        return Status.BlockEnd;
    }

    /// <summary>Delivers one event with a given return address and flags image. On <see cref="Status.Fault"/> nothing has changed.</summary>
    private int DeliverEvent(byte vector, EventSource source, bool hasCode, uint code, ulong rip, ulong flags)
    {
        bool software = source == EventSource.Software;
        _taskCommitted = false;
        int status;
        if (!Protected)
            status = DeliverReal(vector, rip, flags);
        else if (LongMode)
            status = DeliverLong(vector, software, hasCode, code, rip, flags);
        else
            status = DeliverProtected(vector, software, hasCode, code, rip, flags);
        if (status == Status.Fault && !software && _fault.HasErrorCode
            && _fault.Vector is Vector.InvalidTss or Vector.SegmentNotPresent or Vector.StackFault or Vector.GeneralProtection)
            _fault.ErrorCode |= 1; // EXT (SDM Vol. 3, 6.13)
        return status;
    }

    private int DeliverReal(byte vector, ulong rip, ulong flags)
    {
        CpuState* s = State;
        uint entry = vector * 4u;
        if (entry + 3 > s->IdtrLimit)
            return FaultCode(Vector.GeneralProtection, entry * 2 + 2);
        if (!LoadSystem((uint)(s->IdtrBase + entry), 4, out ulong target))
            return Status.Fault;
        StackCursor stack = CurrentStack();
        if (!PushOn(ref stack, flags, 2) || !PushOn(ref stack, s->Cs.Selector, 2) || !PushOn(ref stack, rip, 2))
            return Status.Fault;
        s->Gpr[4] = stack.Pointer;
        SetRealSegment(SegmentIndex.Cs, (ushort)(target >> 16));
        s->Rip = target & 0xFFFF;
        s->RFlags &= ~(Rflags.If | Rflags.Tf | Rflags.Rf | Rflags.Ac);
        ModeChanged();
        return Status.BlockEnd;
    }

    private static uint GateCode(byte vector) => vector * 8u + 2;

    private int DeliverLong(byte vector, bool software, bool hasCode, uint code, ulong rip, ulong flags)
    {
        CpuState* s = State;
        uint entry = vector * 16u;
        Descriptor gate = default;
        if (entry + 15 > s->IdtrLimit)
            return FaultCode(Vector.GeneralProtection, GateCode(vector));
        if (!LoadSystem(s->IdtrBase + entry, 8, out gate.Raw) || !LoadSystem(s->IdtrBase + entry + 8, 8, out gate.Upper))
            return Status.Fault;
        if (!gate.IsSystem || gate.Type is not (SystemType.InterruptGate32 or SystemType.TrapGate32) || (software && gate.Dpl < (uint)s->Cpl))
            return FaultCode(Vector.GeneralProtection, GateCode(vector));
        if (!gate.IsPresent)
            return FaultCode(Vector.SegmentNotPresent, GateCode(vector));
        ushort selector = gate.GateSelector;
        if (IsNull(selector))
            return GeneralProtection();
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out Descriptor target))
            return Status.Fault;
        if (!target.IsCode || target.Dpl > (uint)s->Cpl || !target.IsLong || target.IsBig)
            return SelectorFault(Vector.GeneralProtection, selector);
        if (!target.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector);
        int cpl = target.IsConforming ? s->Cpl : (int)target.Dpl;
        uint ist = (uint)(gate.Raw >> 32) & 7;
        ulong rsp = s->Gpr[4];
        if (ist != 0)
        {
            if (!ReadLongStack(0x1C + ist * 8, out rsp))
                return Status.Fault;
        }
        else if (cpl < s->Cpl && !ReadLongStack((uint)cpl * 8 + 4, out rsp))
        {
            return Status.Fault;
        }
        if (!Canonical(gate.GateOffset, 1))
            return GeneralProtection();
        if (!MarkAccessed(ref target))
            return Status.Fault;
        rsp &= ~15ul;
        ulong* frame = stackalloc ulong[6];
        frame[0] = code;
        frame[1] = rip;
        frame[2] = s->Cs.Selector;
        frame[3] = flags;
        frame[4] = s->Gpr[4];
        frame[5] = s->Ss.Selector;
        int words = hasCode ? 6 : 5;
        rsp -= (ulong)words * 8;
        if (!TransferAs(rsp, (byte*)(frame + 6 - words), words * 8, SegmentIndex.Ss, cpl, store: true))
            return Status.Fault;
        if (cpl < s->Cpl)
            SetNull(&s->Ss, (ushort)cpl, (uint)cpl);
        SetCode(target, selector, cpl);
        s->Gpr[4] = rsp;
        s->Rip = gate.GateOffset;
        EnterHandler(gate.Type == SystemType.InterruptGate32);
        return Status.BlockEnd;
    }

    private void EnterHandler(bool clearInterrupts)
    {
        State->RFlags &= ~(Rflags.Tf | Rflags.Nt | Rflags.Rf | Rflags.Vm | (clearInterrupts ? Rflags.If : 0));
        ModeChanged();
    }

    private int DeliverProtected(byte vector, bool software, bool hasCode, uint code, ulong rip, ulong flags)
    {
        CpuState* s = State;
        uint entry = vector * 8u;
        Descriptor gate = default;
        if (entry + 7 > s->IdtrLimit)
            return FaultCode(Vector.GeneralProtection, GateCode(vector));
        if (!LoadSystem((uint)(s->IdtrBase + entry), 8, out gate.Raw))
            return Status.Fault;
        bool known = gate.IsSystem && gate.Type is SystemType.TaskGate or SystemType.InterruptGate16 or SystemType.TrapGate16
            or SystemType.InterruptGate32 or SystemType.TrapGate32;
        if (!known || !gate.IsSystem || (software && gate.Dpl < (uint)s->Cpl))
            return FaultCode(Vector.GeneralProtection, GateCode(vector));
        if (!gate.IsPresent)
            return FaultCode(Vector.SegmentNotPresent, GateCode(vector));
        ushort selector = gate.GateSelector;
        if (gate.Type == SystemType.TaskGate)
            return DeliverToTask(selector, hasCode, code, rip, flags);
        if (IsNull(selector))
            return GeneralProtection();
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out Descriptor target))
            return Status.Fault;
        if (!target.IsCode || target.Dpl > (uint)s->Cpl)
            return SelectorFault(Vector.GeneralProtection, selector);
        if (!target.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector);
        int cpl = target.IsConforming ? s->Cpl : (int)target.Dpl;
        bool virtual8086 = Virtual8086;
        if (virtual8086 && cpl != 0)
            return SelectorFault(Vector.GeneralProtection, selector);
        bool wide = gate.Type is SystemType.InterruptGate32 or SystemType.TrapGate32;
        int size = wide ? 4 : 2;
        ulong offset = wide ? gate.GateOffset : gate.GateOffset & 0xFFFF;
        bool inner = cpl < s->Cpl;
        StackCursor stack = CurrentStack();
        Descriptor stackDescriptor = default;
        ushort stackSelector = 0;
        if (inner)
        {
            if (!ReadInnerStack(cpl, out stackSelector, out ulong pointer)
                || !ReadStackDescriptor(stackSelector, cpl, Vector.InvalidTss, out stackDescriptor)
                || !MarkAccessed(ref stackDescriptor))
                return Status.Fault;
            stack = NewStack(stackDescriptor, stackSelector, pointer, cpl);
        }
        if (virtual8086 && !(PushOn(ref stack, s->Gs.Selector, size) && PushOn(ref stack, s->Fs.Selector, size)
            && PushOn(ref stack, s->Ds.Selector, size) && PushOn(ref stack, s->Es.Selector, size)))
            return Status.Fault;
        if (inner && !(PushOn(ref stack, s->Ss.Selector, size) && PushOn(ref stack, s->Gpr[4], size)))
            return Status.Fault;
        if (!PushOn(ref stack, flags, size) || !PushOn(ref stack, s->Cs.Selector, size) || !PushOn(ref stack, rip, size)
            || (hasCode && !PushOn(ref stack, code, size)))
            return Status.Fault;
        if (!CheckOffset(target, offset) || !MarkAccessed(ref target))
            return Status.Fault;
        if (inner)
            SetStackSegment(stackDescriptor, stackSelector);
        s->Gpr[4] = stack.Pointer;
        if (virtual8086)
        {
            SetNull(&s->Es, 0);
            SetNull(&s->Ds, 0);
            SetNull(&s->Fs, 0);
            SetNull(&s->Gs, 0);
        }
        SetCode(target, selector, cpl);
        s->Rip = offset;
        EnterHandler(gate.Type is SystemType.InterruptGate16 or SystemType.InterruptGate32);
        return Status.BlockEnd;
    }

    /// <summary>A task gate in the IDT: switch, then push the error code on the new task's stack.</summary>
    private int DeliverToTask(ushort selector, bool hasCode, uint code, ulong rip, ulong flags)
    {
        CpuState* s = State;
        if (!ReadTaskDescriptor(selector, out Descriptor descriptor))
            return Status.Fault;
        // The outgoing task's image gets the event's flags (RF) and return address.
        s->RFlags = (s->RFlags & ~Rflags.Rf) | (flags & Rflags.Rf);
        if (SwitchTask(TaskSwitchKind.Interrupt, selector, descriptor, rip) == Status.Fault)
            return Status.Fault;
        if (hasCode)
        {
            int size = (s->Tr.Attributes & 8) != 0 ? 4 : 2;
            StackCursor stack = CurrentStack();
            if (!PushOn(ref stack, code, size))
                return Status.Fault;
            s->Gpr[4] = stack.Pointer;
        }
        return Status.BlockEnd;
    }

    /// <summary>VME: is this software interrupt of virtual-8086 mode handled by the task's own vector table? False: a fault is pending.</summary>
    private bool InterruptIsRedirected(byte vector, out bool redirected)
    {
        CpuState* s = State;
        redirected = false;
        if (s->Tr.Limit < 0x67)
            return GeneralProtection() == 0;
        if (!LoadSystem((uint)(s->Tr.Base + 0x66), 2, out ulong map))
            return false;
        // The redirection bitmap is the 32 bytes below the I/O bitmap (SDM Vol. 3, 20.3.2).
        uint at = (uint)map - 32 + vector / 8u;
        if (map < 32 || at > s->Tr.Limit)
            return GeneralProtection() == 0;
        if (!LoadSystem((uint)(s->Tr.Base + at), 1, out ulong bits))
            return false;
        redirected = ((bits >> (vector & 7)) & 1) == 0;
        return true;
    }

    /// <summary>VME: an interrupt that stays in virtual-8086 mode, through the vector table at linear address 0 (SDM Vol. 3, 20.3.1).</summary>
    private int DeliverWithinTask(byte vector, ulong nextRip)
    {
        CpuState* s = State;
        ulong target = 0;
        if (!TransferSlow(vector * 4u, (byte*)&target, 4, SegmentIndex.Ds, store: false))
            return Status.Fault;
        bool trusted = (s->RFlags & Rflags.Iopl) == Rflags.Iopl;
        ulong image = Flags.Get(s) & ~Rflags.Rf;
        if (!trusted)
            image = (image & ~Rflags.If) | Rflags.Iopl | ((s->RFlags & Rflags.Vif) != 0 ? Rflags.If : 0);
        StackCursor stack = CurrentStack();
        if (!PushOn(ref stack, image, 2) || !PushOn(ref stack, s->Cs.Selector, 2) || !PushOn(ref stack, nextRip, 2))
            return Status.Fault;
        s->Gpr[4] = stack.Pointer;
        SetRealSegment(SegmentIndex.Cs, (ushort)(target >> 16));
        s->Rip = target & 0xFFFF;
        s->RFlags &= ~(Rflags.Tf | Rflags.Rf | (trusted ? Rflags.If : Rflags.Vif));
        _trapSuppressed = true;
        ModeChanged();
        return Status.BlockEnd;
    }

    /// <summary>True if an enabled instruction breakpoint covers CS:RIP; #DB is then pending.</summary>
    private bool MatchCodeBreakpoints()
    {
        CpuState* s = State;
        ulong linear = s->Is64 != 0 ? s->Rip : (uint)(s->Cs.Base + s->Rip);
        ulong hit = 0;
        for (int i = 0; i < 4; i++)
        {
            bool enabled = (s->Dr[7] & (3ul << (i * 2))) != 0;
            bool execution = ((s->Dr[7] >> (16 + i * 4)) & 3) == 0;
            if (enabled && execution && s->Dr[i] == linear)
                hit |= 1ul << i;
        }
        if (hit == 0)
            return false;
        s->PendingDebug |= hit;
        Fault(Vector.Debug);
        return true;
    }

    /// <summary>MOV of a debug register while DR7.GD is set (SDM Vol. 3, 17.2.4).</summary>
    internal int DebugRegisterGuard()
    {
        State->PendingDebug |= DebugStatus.RegisterAccess;
        return Fault(Vector.Debug);
    }
}
