using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>PUSH and POP of segment registers.</summary>
public static unsafe class SegmentStack
{
    public static bool BindPush(ref OpBuilder b)
    {
        b.Op->Src = (ushort)OpBuilder.SegmentNumber(b.Instruction.Op0Register);
        b.Op->Run = &Push;
        return true;
    }

    public static bool BindPop(ref OpBuilder b)
    {
        if (b.Instruction.Op0Register == Iced.Intel.Register.CS)
            return false;
        b.EndsBlock = true;
        b.Op->Dst = (ushort)OpBuilder.SegmentNumber(b.Instruction.Op0Register);
        b.Op->Run = &Pop;
        return true;
    }

    private static int Push(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        cpu.Push(cpu.Segment(op->Src)->Selector, op->OperandSize) ? Status.Next : Status.Fault;

    private static int Pop(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        // Only the selector's two bytes are read, whatever the operand size.
        if (!cpu.Peek(0, 2, out ulong selector))
            return Status.Fault;
        ulong mask = s->StackMask;
        ulong rsp = (s->Gpr[4] & ~mask) | ((s->Gpr[4] + op->OperandSize) & mask);
        int status = SystemMove.Load(cpu, s, op->Dst, (ushort)selector, op->NextRip);
        if (status != Status.Fault)
            s->Gpr[4] = rsp;
        return status;
    }
}
