using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Far JMP, CALL, RET through segments, gates and task-state segments; the work is in <see cref="SoftwareVcpu"/>.</summary>
public static unsafe class FarTransfer
{
    public static void Register(Binders.Registry r) => r.Add(Mnemonic.Retf, &BindReturn);

    public static bool BindJump(ref OpBuilder b)
    {
        FillTarget(ref b);
        b.Op->Run = b.IsMemory(0) ? &JumpMem : &Jump;
        return true;
    }

    public static bool BindCall(ref OpBuilder b)
    {
        FillTarget(ref b);
        b.Op->Run = b.IsMemory(0) ? &CallMem : &Call;
        return true;
    }

    /// <summary>Reads an offset of <paramref name="size"/> bytes and the selector behind it.</summary>
    internal static bool LoadPointer(SoftwareVcpu cpu, CpuState* s, Op* op, int size, out ulong offset, out ushort selector)
    {
        offset = 0;
        selector = 0;
        if (!General.Linear(cpu, s, op, size + 2, write: false, out ulong linear))
            return false;
        ulong* pointer = stackalloc ulong[2];
        pointer[0] = pointer[1] = 0;
        if (!cpu.TransferSlow(linear, (byte*)pointer, size + 2, op->Segment, store: false))
            return false;
        offset = size == 8 ? pointer[0] : pointer[0] & ((1ul << (size * 8)) - 1);
        selector = *(ushort*)((byte*)pointer + size);
        return true;
    }

    private static void FillTarget(ref OpBuilder b)
    {
        Op* op = b.Op;
        if (b.IsMemory(0))
        {
            b.Memory();
            op->OperandSize = (byte)(b.Instruction.MemorySize switch { MemorySize.SegPtr16 => 2, MemorySize.SegPtr32 => 4, _ => 8 });
            return;
        }
        bool wide = b.Kind(0) == OpKind.FarBranch32;
        op->OperandSize = (byte)(wide ? 4 : 2);
        op->Imm = wide ? b.Instruction.FarBranch32 : b.Instruction.FarBranch16;
        op->Src = b.Instruction.FarBranchSelector;
    }

    private static bool BindReturn(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Op->OperandSize = (byte)(b.Instruction.Code switch
        {
            Code.Retfw or Code.Retfw_imm16 => 2,
            Code.Retfd or Code.Retfd_imm16 => 4,
            _ => 8,
        });
        b.Op->Imm = b.Instruction.OpCount == 1 ? (ushort)b.Immediate(0) : 0u;
        b.Op->Run = &Return;
        return true;
    }

    private static int Jump(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.FarJump(op->Src, op->Imm, op->NextRip);

    private static int JumpMem(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        LoadPointer(cpu, s, op, op->OperandSize, out ulong offset, out ushort selector)
            ? cpu.FarJump(selector, offset, op->NextRip) : Status.Fault;

    private static int Call(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.FarCall(op->Src, op->Imm, op->OperandSize, op->NextRip);

    private static int CallMem(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        LoadPointer(cpu, s, op, op->OperandSize, out ulong offset, out ushort selector)
            ? cpu.FarCall(selector, offset, op->OperandSize, op->NextRip) : Status.Fault;

    private static int Return(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.FarReturn(op->OperandSize, op->Imm);
}
