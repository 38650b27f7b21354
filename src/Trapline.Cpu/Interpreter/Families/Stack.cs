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
}
