using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Far jumps, calls and returns, and IRET, in every mode (SDM Vol. 2, CALL, JMP, RET, IRET; Vol. 3, 5.8).</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Far JMP to selector:offset; the status is what the handler returns.</summary>
    internal int FarJump(ushort selector, ulong offset, ulong nextRip)
    {
        CpuState* s = State;
        if (!Protected || Virtual8086)
        {
            if (offset > s->Cs.Limit)
                return GeneralProtection();
            SetRealSegment(SegmentIndex.Cs, selector);
            s->Rip = offset;
            ModeChanged();
            return Status.BlockEnd;
        }
        if (IsNull(selector))
            return GeneralProtection();
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out Descriptor target))
            return Status.Fault;
        if (target.IsSystem)
            return JumpThroughSystem(selector, target, nextRip);
        if (!target.IsCode)
            return SelectorFault(Vector.GeneralProtection, selector);
        if (target.IsConforming ? target.Dpl > (uint)s->Cpl : (selector & 3) > s->Cpl || target.Dpl != (uint)s->Cpl)
            return SelectorFault(Vector.GeneralProtection, selector);
        return CheckCodeForm(selector, target) && CheckOffset(target, offset) && MarkAccessed(ref target)
            ? Enter(target, selector, s->Cpl, offset) : Status.Fault;
    }

    /// <summary>L and D both set are reserved in long mode; absent segments raise #NP.</summary>
    private bool CheckCodeForm(ushort selector, in Descriptor target)
    {
        if (LongMode && target.IsLong && target.IsBig)
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        return target.IsPresent || SelectorFault(Vector.SegmentNotPresent, selector) == 0;
    }

    private int Enter(in Descriptor target, ushort selector, int cpl, ulong offset)
    {
        SetCode(target, selector, cpl);
        State->Rip = offset;
        ModeChanged();
        return Status.BlockEnd;
    }

    private int JumpThroughSystem(ushort selector, in Descriptor system, ulong nextRip)
    {
        CpuState* s = State;
        if (!ReadGate(selector, system, out Descriptor gate, out bool isTask))
            return Status.Fault;
        if (isTask)
            return TransferToTask(TaskSwitchKind.Jump, selector, gate, nextRip);
        if (!ReadGateTarget(gate, out Descriptor target, out ushort targetSelector, out ulong offset))
            return Status.Fault;
        if (target.IsConforming ? target.Dpl > (uint)s->Cpl : target.Dpl != (uint)s->Cpl)
            return SelectorFault(Vector.GeneralProtection, targetSelector);
        if (!target.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, targetSelector);
        return CheckOffset(target, offset) && MarkAccessed(ref target) ? Enter(target, targetSelector, s->Cpl, offset) : Status.Fault;
    }

    /// <summary>Checks type, privilege and presence of a call gate, task gate or TSS that a far transfer named.</summary>
    private bool ReadGate(ushort selector, in Descriptor system, out Descriptor gate, out bool isTask)
    {
        gate = system;
        isTask = false;
        bool known = LongMode ? gate.Type == SystemType.CallGate32
            : gate.Type is SystemType.CallGate16 or SystemType.CallGate32 or SystemType.TaskGate or SystemType.Tss16 or SystemType.Tss32;
        if (!known || gate.Dpl < (uint)State->Cpl || gate.Dpl < (selector & 3u))
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        if (LongMode && !ReadUpper(selector, Vector.GeneralProtection, ref gate))
            return false;
        if (!gate.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector) == 0;
        isTask = gate.Type is SystemType.TaskGate or SystemType.Tss16 or SystemType.Tss32;
        return true;
    }

    private int TransferToTask(TaskSwitchKind kind, ushort selector, in Descriptor named, ulong nextRip)
    {
        Descriptor task = named;
        if (named.Type == SystemType.TaskGate)
            selector = named.GateSelector;
        _taskCommitted = false;
        return ReadTaskDescriptor(selector, out task) ? Settle(SwitchTask(kind, selector, task, nextRip)) : Status.Fault;
    }

    /// <summary>Reads the code segment that a call gate names.</summary>
    private bool ReadGateTarget(in Descriptor gate, out Descriptor target, out ushort selector, out ulong offset)
    {
        selector = gate.GateSelector;
        target = default;
        offset = gate.Type == SystemType.CallGate16 ? gate.GateOffset & 0xFFFF : gate.GateOffset;
        if (IsNull(selector))
            return GeneralProtection() == 0;
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out target))
            return false;
        bool fits = target.IsCode && target.Dpl <= (uint)State->Cpl && (!LongMode || (target.IsLong && !target.IsBig));
        return fits || SelectorFault(Vector.GeneralProtection, selector) == 0;
    }

    /// <summary>Far CALL to selector:offset with return addresses of <paramref name="size"/> bytes.</summary>
    internal int FarCall(ushort selector, ulong offset, int size, ulong nextRip)
    {
        CpuState* s = State;
        StackCursor stack = CurrentStack();
        if (!Protected || Virtual8086)
        {
            if (!PushOn(ref stack, s->Cs.Selector, size) || !PushOn(ref stack, nextRip, size))
                return Status.Fault;
            if (offset > s->Cs.Limit)
                return GeneralProtection();
            s->Gpr[4] = stack.Pointer;
            SetRealSegment(SegmentIndex.Cs, selector);
            s->Rip = offset;
            ModeChanged();
            return Status.BlockEnd;
        }
        if (IsNull(selector))
            return GeneralProtection();
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out Descriptor target))
            return Status.Fault;
        if (target.IsSystem)
            return CallThroughSystem(selector, target, nextRip);
        if (!target.IsCode)
            return SelectorFault(Vector.GeneralProtection, selector);
        if (target.IsConforming ? target.Dpl > (uint)s->Cpl : (selector & 3) > s->Cpl || target.Dpl != (uint)s->Cpl)
            return SelectorFault(Vector.GeneralProtection, selector);
        if (!CheckCodeForm(selector, target) || !PushOn(ref stack, s->Cs.Selector, size) || !PushOn(ref stack, nextRip, size)
            || !CheckOffset(target, offset) || !MarkAccessed(ref target))
            return Status.Fault;
        s->Gpr[4] = stack.Pointer;
        return Enter(target, selector, s->Cpl, offset);
    }

    private int CallThroughSystem(ushort selector, in Descriptor system, ulong nextRip)
    {
        CpuState* s = State;
        if (!ReadGate(selector, system, out Descriptor gate, out bool isTask))
            return Status.Fault;
        if (isTask)
            return TransferToTask(TaskSwitchKind.Call, selector, gate, nextRip);
        if (!ReadGateTarget(gate, out Descriptor target, out ushort targetSelector, out ulong offset))
            return Status.Fault;
        if (!target.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, targetSelector);
        int size = LongMode ? 8 : gate.Type == SystemType.CallGate32 ? 4 : 2;
        bool inner = !target.IsConforming && target.Dpl < (uint)s->Cpl;
        if (!inner)
        {
            StackCursor same = CurrentStack();
            if (LongMode)
                same.Mask = ulong.MaxValue;
            if (!PushOn(ref same, s->Cs.Selector, size) || !PushOn(ref same, nextRip, size)
                || !CheckOffset(target, offset) || !MarkAccessed(ref target))
                return Status.Fault;
            s->Gpr[4] = same.Pointer;
            return Enter(target, targetSelector, s->Cpl, offset);
        }
        int cpl = (int)target.Dpl;
        StackCursor stack;
        Descriptor stackDescriptor = default;
        ushort stackSelector = (ushort)cpl;
        if (LongMode)
        {
            if (!ReadLongStack((uint)cpl * 8 + 4, out ulong rsp))
                return Status.Fault;
            stack = new StackCursor { Pointer = rsp, Mask = ulong.MaxValue, Cpl = cpl };
        }
        else
        {
            if (!ReadInnerStack(cpl, out stackSelector, out ulong pointer)
                || !ReadStackDescriptor(stackSelector, cpl, Vector.InvalidTss, out stackDescriptor)
                || !MarkAccessed(ref stackDescriptor))
                return Status.Fault;
            stack = NewStack(stackDescriptor, stackSelector, pointer, cpl);
        }
        if (!PushOn(ref stack, s->Ss.Selector, size) || !PushOn(ref stack, s->Gpr[4], size))
            return Status.Fault;
        int parameters = LongMode ? 0 : (int)(gate.Raw >> 32) & 31;
        for (int i = parameters - 1; i >= 0; i--)
            if (!Peek((ulong)(i * size), size, out ulong parameter) || !PushOn(ref stack, parameter, size))
                return Status.Fault;
        if (!PushOn(ref stack, s->Cs.Selector, size) || !PushOn(ref stack, nextRip, size)
            || !CheckOffset(target, offset) || !MarkAccessed(ref target))
            return Status.Fault;
        if (LongMode)
            SetNull(&s->Ss, stackSelector, (uint)cpl);
        else
            SetStackSegment(stackDescriptor, stackSelector);
        s->Gpr[4] = stack.Pointer;
        return Enter(target, targetSelector, cpl, offset);
    }

    /// <summary>Far RET: pops of <paramref name="size"/> bytes, then <paramref name="release"/> bytes of parameters.</summary>
    internal int FarReturn(int size, ulong release)
    {
        CpuState* s = State;
        if (!Peek(0, size, out ulong rip) || !Peek((ulong)size, size, out ulong word))
            return Status.Fault;
        ushort selector = (ushort)word;
        ulong popped = (ulong)size * 2;
        if (!Protected || Virtual8086)
        {
            if (rip > s->Cs.Limit)
                return GeneralProtection();
            SetStackPointer(s->Gpr[4] + popped + release);
            SetRealSegment(SegmentIndex.Cs, selector);
            s->Rip = rip;
            ModeChanged();
            return Status.BlockEnd;
        }
        if (!ReadReturnTarget(selector, out Descriptor target))
            return Status.Fault;
        int cpl = selector & 3;
        if (cpl == s->Cpl)
        {
            if (!CheckOffset(target, rip) || !MarkAccessed(ref target))
                return Status.Fault;
            SetStackPointer(s->Gpr[4] + popped + release);
            return Enter(target, selector, cpl, rip);
        }
        if (!Peek(popped + release, size, out ulong rsp) || !Peek(popped + release + (ulong)size, size, out ulong ss))
            return Status.Fault;
        if (!ReadReturnStack((ushort)ss, cpl, target, out Descriptor stack) || !CheckOffset(target, rip)
            || !MarkAccessed(ref target) || !MarkAccessed(ref stack))
            return Status.Fault;
        InstallReturn(target, selector, cpl, rip, stack, (ushort)ss, rsp, size);
        SetStackPointer(s->Gpr[4] + release);
        return Status.BlockEnd;
    }

    /// <summary>Reads and checks the code segment that a far return or IRET goes back to.</summary>
    private bool ReadReturnTarget(ushort selector, out Descriptor target)
    {
        CpuState* s = State;
        target = default;
        if (IsNull(selector))
            return GeneralProtection() == 0;
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out target))
            return false;
        uint rpl = selector & 3u;
        if (!target.IsCode || rpl < (uint)s->Cpl || (target.IsConforming ? target.Dpl > rpl : target.Dpl != rpl))
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        return CheckCodeForm(selector, target);
    }

    /// <summary>Reads and checks the stack segment of a return to an outer ring; a null one is fine for 64-bit code outside ring 3.</summary>
    private bool ReadReturnStack(ushort selector, int cpl, in Descriptor code, out Descriptor stack)
    {
        stack = default;
        if (IsNull(selector))
        {
            // Accessed, so that nobody wants to mark it.
            stack.Raw = 1ul << 40;
            return (LongMode && code.IsLong && cpl != 3 && (selector & 3) == cpl) || GeneralProtection() == 0;
        }
        return ReadStackDescriptor(selector, cpl, Vector.GeneralProtection, out stack);
    }

    private void InstallReturn(in Descriptor code, ushort selector, int cpl, ulong rip, in Descriptor stack, ushort stackSelector, ulong rsp, int size)
    {
        CpuState* s = State;
        bool outer = cpl != s->Cpl;
        SetCode(code, selector, cpl);
        if (IsNull(stackSelector))
            SetNull(&s->Ss, stackSelector, (uint)cpl);
        else
            SetStackSegment(stack, stackSelector);
        s->Rip = rip;
        if (outer)
            DropInnerSegments();
        ModeChanged();
        if (size == 2)
            SetStackPointer((s->Gpr[4] & ~0xFFFFul) | (ushort)rsp);
        else if (s->Is64 != 0)
            s->Gpr[4] = rsp;
        else
            SetStackPointer(rsp);
    }

    /// <summary>IRET with an operand of <paramref name="size"/> bytes.</summary>
    internal int InterruptReturn(int size, ulong nextRip)
    {
        CpuState* s = State;
        int status = !Protected ? ReturnReal(size)
            : Virtual8086 ? ReturnVirtual8086(size)
            : (s->RFlags & Rflags.Nt) != 0 ? (LongMode ? GeneralProtection() : ReturnToLinkedTask(nextRip))
            : ReturnProtected(size);
        if (status == Status.Fault)
            return status;
        s->NmiBlocked = 0;
        InterruptsMayBeDeliverable();
        return status;
    }

    private bool PopFrame(int size, out ulong rip, out ushort selector, out ulong flags)
    {
        selector = 0;
        flags = 0;
        if (!Peek(0, size, out rip) || !Peek((ulong)size, size, out ulong cs) || !Peek((ulong)size * 2, size, out flags))
            return false;
        selector = (ushort)cs;
        return true;
    }

    /// <summary>Loads the flags of an IRET or POPF. RF is dropped unless someone could notice: nothing but breakpoints looks at it.</summary>
    internal void LoadFlags(ulong value, ulong changeable)
    {
        CpuState* s = State;
        ulong flags = (Flags.Get(s) & ~changeable) | (value & changeable);
        if ((flags & Rflags.Rf) != 0 && !_codeBreakpoints && (flags & Rflags.Tf) == 0)
            flags &= ~Rflags.Rf;
        Flags.Set(s, flags);
    }

    private const ulong WordFlags = 0xFFFF;

    private int ReturnReal(int size)
    {
        CpuState* s = State;
        if (!PopFrame(size, out ulong rip, out ushort selector, out ulong flags))
            return Status.Fault;
        if (rip > s->Cs.Limit)
            return GeneralProtection();
        SetStackPointer(s->Gpr[4] + (ulong)size * 3);
        SetRealSegment(SegmentIndex.Cs, selector);
        s->Rip = rip;
        LoadFlags(flags, size == 2 ? WordFlags : Rflags.Defined & ~(Rflags.Vm | Rflags.Vif | Rflags.Vip));
        ModeChanged();
        return Status.BlockEnd;
    }

    /// <summary>IRET within virtual-8086 mode (SDM Vol. 3, 20.2.7 and 20.3).</summary>
    private int ReturnVirtual8086(int size)
    {
        CpuState* s = State;
        bool trusted = (s->RFlags & Rflags.Iopl) == Rflags.Iopl;
        bool extended = !trusted && (s->Cr4 & Cr4.Vme) != 0 && size == 2;
        if (!trusted && !extended)
            return GeneralProtection();
        if (!PopFrame(size, out ulong rip, out ushort selector, out ulong flags))
            return Status.Fault;
        if (extended && ((flags & Rflags.Tf) != 0 || ((flags & Rflags.If) != 0 && (s->RFlags & Rflags.Vip) != 0)))
            return GeneralProtection();
        if (rip > 0xFFFF)
            return GeneralProtection();
        SetStackPointer(s->Gpr[4] + (ulong)size * 3);
        SetRealSegment(SegmentIndex.Cs, selector);
        s->Rip = rip;
        ulong changeable = size == 2 ? WordFlags : Rflags.Defined & ~(Rflags.Vm | Rflags.Vif | Rflags.Vip);
        changeable &= ~Rflags.Iopl;
        if (extended)
        {
            changeable &= ~Rflags.If;
            s->RFlags = (flags & Rflags.If) != 0 ? s->RFlags | Rflags.Vif : s->RFlags & ~Rflags.Vif;
        }
        LoadFlags(flags, changeable);
        ModeChanged();
        return Status.BlockEnd;
    }

    private int ReturnProtected(int size)
    {
        CpuState* s = State;
        if (!PopFrame(size, out ulong rip, out ushort selector, out ulong flags))
            return Status.Fault;
        if (size == 4 && (flags & Rflags.Vm) != 0 && s->Cpl == 0 && !LongMode)
            return ReturnToVirtual8086(rip, selector, flags);
        if (!ReadReturnTarget(selector, out Descriptor target))
            return Status.Fault;
        int cpl = selector & 3;
        ulong popped = (ulong)size * 3;
        ulong changeable = Changeable(size);
        // 64-bit code always pops the stack pointer, too (SDM Vol. 2, IRET).
        if (cpl == s->Cpl && s->Is64 == 0)
        {
            if (!CheckOffset(target, rip) || !MarkAccessed(ref target))
                return Status.Fault;
            SetStackPointer(s->Gpr[4] + popped);
            SetCode(target, selector, cpl);
            s->Rip = rip;
            LoadFlags(flags, changeable);
            ModeChanged();
            return Status.BlockEnd;
        }
        if (!Peek(popped, size, out ulong rsp) || !Peek(popped + (ulong)size, size, out ulong ss))
            return Status.Fault;
        if (!ReadReturnStack((ushort)ss, cpl, target, out Descriptor stack) || !CheckOffset(target, rip)
            || !MarkAccessed(ref target) || !MarkAccessed(ref stack))
            return Status.Fault;
        LoadFlags(flags, changeable);
        InstallReturn(target, selector, cpl, rip, stack, (ushort)ss, rsp, size);
        return Status.BlockEnd;
    }

    /// <summary>Which flags an IRET at the current privilege may change (SDM Vol. 2, IRET).</summary>
    private ulong Changeable(int size)
    {
        CpuState* s = State;
        ulong changeable = Rflags.Arithmetic | Rflags.Tf | Rflags.Df | Rflags.Nt;
        if (size != 2)
            changeable |= Rflags.Rf | Rflags.Ac | Rflags.Id;
        if ((uint)s->Cpl <= (uint)(s->RFlags >> 12 & 3))
            changeable |= Rflags.If;
        if (s->Cpl == 0)
        {
            changeable |= Rflags.Iopl;
            if (size != 2)
                changeable |= Rflags.Vif | Rflags.Vip;
        }
        return changeable;
    }

    private int ReturnToVirtual8086(ulong rip, ushort selector, ulong flags)
    {
        CpuState* s = State;
        ulong* frame = stackalloc ulong[6]; // ESP, SS, ES, DS, FS, GS
        for (int i = 0; i < 6; i++)
            if (!Peek((ulong)(12 + i * 4), 4, out frame[i]))
                return Status.Fault;
        if (rip > 0xFFFF)
            return GeneralProtection();
        LoadFlags(flags, Rflags.Defined);
        s->Cpl = 3;
        SetRealSegment(SegmentIndex.Cs, selector);
        SetRealSegment(SegmentIndex.Ss, (ushort)frame[1]);
        SetRealSegment(SegmentIndex.Es, (ushort)frame[2]);
        SetRealSegment(SegmentIndex.Ds, (ushort)frame[3]);
        SetRealSegment(SegmentIndex.Fs, (ushort)frame[4]);
        SetRealSegment(SegmentIndex.Gs, (ushort)frame[5]);
        s->Gpr[4] = frame[0];
        s->Rip = rip;
        ModeChanged();
        return Status.BlockEnd;
    }
}
