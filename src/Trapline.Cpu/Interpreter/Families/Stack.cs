using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>PUSH, POP, PUSHA, POPA, ENTER, LEAVE of general operands. Segment registers and flags are with the system instructions.</summary>
public static unsafe class Stack
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Push, &BindPush);
        r.Add(Mnemonic.Pop, &BindPop);
        r.Add(Mnemonic.Leave, &BindLeave);
        r.Add(Mnemonic.Enter, &BindEnter);
        r.Add(Mnemonic.Pusha, &BindAll);
        r.Add(Mnemonic.Pushad, &BindAll);
        r.Add(Mnemonic.Popa, &BindAll);
        r.Add(Mnemonic.Popad, &BindAll);
    }

    private static bool BindPush(ref OpBuilder b)
    {
        Op* op = b.Op;
        op->OperandSize = (byte)(-b.Instruction.StackPointerIncrement);
        if (b.IsRegister(0))
        {
            if (!b.Instruction.Op0Register.IsGPR())
                return SegmentStack.BindPush(ref b);
            op->Src = b.Offset(0);
            op->Run = op->OperandSize == 8 ? &PushReg64 : &PushReg;
            return true;
        }
        if (b.IsMemory(0))
        {
            b.Memory();
            op->Run = &PushMem;
            return true;
        }
        op->Imm = b.Immediate(0);
        op->Run = &PushImm;
        return true;
    }

    private static bool BindPop(ref OpBuilder b)
    {
        Op* op = b.Op;
        op->OperandSize = (byte)b.Instruction.StackPointerIncrement;
        if (b.IsRegister(0))
        {
            if (!b.Instruction.Op0Register.IsGPR())
                return SegmentStack.BindPop(ref b);
            op->Dst = b.Offset(0);
            op->Run = op->OperandSize == 8 ? &PopReg64 : &PopReg;
            return true;
        }
        b.Memory();
        op->Run = &PopMem;
        return true;
    }

    private static bool BindLeave(ref OpBuilder b)
    {
        b.Op->OperandSize = (byte)(b.Instruction.Code switch { Code.Leavew => 2, Code.Leaved => 4, _ => 8 });
        b.Op->Run = &Leave;
        return true;
    }

    private static int PushReg64(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong linear = s->Gpr[4] - 8;
        ulong value = *(ulong*)((byte*)s + op->Src);
        byte* p = GuestAccess.WritePointer(s, linear, 8);
        if (p != null)
            *(ulong*)p = value;
        else if (!cpu.StoreSlow(linear, 8, SegmentIndex.Ss, value))
            return Status.Fault;
        s->Gpr[4] = linear;
        return Status.Next;
    }

    private static int PopReg64(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong linear = s->Gpr[4];
        ulong value;
        byte* p = GuestAccess.ReadPointer(s, linear, 8);
        if (p != null)
            value = *(ulong*)p;
        else if (!cpu.LoadSlow(linear, 8, SegmentIndex.Ss, out value))
            return Status.Fault;
        s->Gpr[4] = linear + 8;
        *(ulong*)((byte*)s + op->Dst) = value; // POP RSP: the popped value stays
        return Status.Next;
    }

    private static int PushReg(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        cpu.Push(*(ulong*)((byte*)s + op->Src), op->OperandSize) ? Status.Next : Status.Fault;

    private static int PushImm(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.Push(op->Imm, op->OperandSize) ? Status.Next : Status.Fault;

    private static int PushMem(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        General.Linear(cpu, s, op, op->OperandSize, write: false, out ulong linear)
            && GuestAccess.Load(cpu, s, op, linear, op->OperandSize, out ulong value)
            && cpu.Push(value, op->OperandSize) ? Status.Next : Status.Fault;

    private static int PopReg(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!cpu.Pop(op->OperandSize, out ulong value))
            return Status.Fault;
        if (op->OperandSize == 2)
            *(ushort*)((byte*)s + op->Dst) = (ushort)value;
        else
            *(ulong*)((byte*)s + op->Dst) = value;
        return Status.Next;
    }

    private static int PopMem(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong before = s->Gpr[4];
        if (!cpu.Pop(op->OperandSize, out ulong value))
            return Status.Fault;
        // An address based on RSP uses the value after the increment (SDM Vol. 2, POP).
        if (General.Linear(cpu, s, op, op->OperandSize, write: true, out ulong linear)
            && GuestAccess.Store(cpu, s, op, linear, op->OperandSize, value))
            return Status.Next;
        s->Gpr[4] = before;
        return Status.Fault;
    }

    private static int Leave(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong before = s->Gpr[4];
        cpu.SetStackPointer(s->Gpr[5]);
        if (!cpu.Pop(op->OperandSize, out ulong value))
        {
            s->Gpr[4] = before;
            return Status.Fault;
        }
        if (op->OperandSize == 2)
            *(ushort*)&s->Gpr[5] = (ushort)value;
        else
            s->Gpr[5] = value;
        return Status.Next;
    }

    private static bool BindEnter(ref OpBuilder b)
    {
        b.Op->OperandSize = (byte)(b.Instruction.Code switch { Code.Enterw_imm16_imm8 => 2, Code.Enterd_imm16_imm8 => 4, _ => 8 });
        b.Op->Imm = b.Immediate(0);
        b.Op->Src2 = (ushort)(b.Immediate(1) & 31);
        b.Op->Run = &Enter;
        return true;
    }

    /// <summary>A frame with <c>Src2</c> nesting levels: the enclosing frames' pointers are copied, then the new one's (SDM Vol. 2, ENTER).</summary>
    private static int Enter(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        int size = op->OperandSize, level = op->Src2;
        ulong before = s->Gpr[4], frame = s->Gpr[5];
        if (!cpu.Push(frame, size))
            return Status.Fault;
        ulong frameAddress = s->Gpr[4];
        for (int i = 1; i <= level; i++)
        {
            ulong value = frameAddress;
            if (i < level)
            {
                ulong offset = (frame - (ulong)(i * size)) & s->StackMask;
                if (!cpu.SegmentLinear(SegmentIndex.Ss, offset, size, write: false, out ulong linear)
                    || !cpu.LoadSlow(linear, size, SegmentIndex.Ss, out value))
                    return Undo(s, before);
            }
            if (!cpu.Push(value, size))
                return Undo(s, before);
        }
        cpu.SetStackPointer(s->Gpr[4] - op->Imm);
        // The new top of the stack must be writable, though nothing is written there.
        if (!cpu.SegmentLinear(SegmentIndex.Ss, s->Gpr[4] & s->StackMask, size, write: true, out ulong top)
            || !cpu.Probe(top, size, SegmentIndex.Ss, write: true))
            return Undo(s, before);
        if (size == 2)
            *(ushort*)&s->Gpr[5] = (ushort)frameAddress;
        else if (size == 4)
            s->Gpr[5] = (uint)frameAddress;
        else
            s->Gpr[5] = frameAddress;
        return Status.Next;
    }

    private static int Undo(CpuState* s, ulong stackPointer)
    {
        s->Gpr[4] = stackPointer;
        return Status.Fault;
    }

    private static bool BindAll(ref OpBuilder b)
    {
        b.Op->OperandSize = (byte)(b.Instruction.Mnemonic is Mnemonic.Pushad or Mnemonic.Popad ? 4 : 2);
        b.Op->Run = b.Instruction.Mnemonic is Mnemonic.Pusha or Mnemonic.Pushad ? &PushAll : &PopAll;
        return true;
    }

    private static int PushAll(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong before = s->Gpr[4];
        for (int i = 0; i < 8; i++)
            if (!cpu.Push(i == 4 ? before : s->Gpr[i], op->OperandSize))
                return Undo(s, before);
        return Status.Next;
    }

    private static int PopAll(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        // Registers are loaded one by one: after a fault in the middle RSP is as before, and the instruction runs again from the start.
        for (int i = 7; i >= 0; i--)
        {
            if (!cpu.Peek((ulong)((7 - i) * op->OperandSize), op->OperandSize, out ulong value))
                return Status.Fault;
            if (i == 4)
                continue; // the saved stack pointer is skipped
            if (op->OperandSize == 2)
                *(ushort*)&s->Gpr[i] = (ushort)value;
            else
                s->Gpr[i] = value;
        }
        cpu.SetStackPointer(s->Gpr[4] + 8ul * op->OperandSize);
        return Status.Next;
    }
}
