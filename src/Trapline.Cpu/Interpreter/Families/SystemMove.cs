using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>MOV to and from segment registers; LDS, LES, LFS, LGS, LSS. Control and debug registers go to <see cref="ControlRegisters"/>.</summary>
public static unsafe class SystemMove
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Lds, &BindLoadFar);
        r.Add(Mnemonic.Les, &BindLoadFar);
        r.Add(Mnemonic.Lfs, &BindLoadFar);
        r.Add(Mnemonic.Lgs, &BindLoadFar);
        r.Add(Mnemonic.Lss, &BindLoadFar);
    }

    public static bool Bind(ref OpBuilder b)
    {
        Op* op = b.Op;
        Register to = b.IsRegister(0) ? b.Instruction.Op0Register : Iced.Intel.Register.None;
        Register from = b.IsRegister(1) ? b.Instruction.Op1Register : Iced.Intel.Register.None;
        if (to.IsSegmentRegister())
        {
            if (to == Iced.Intel.Register.CS)
                return false;
            b.EndsBlock = true;
            op->Dst = (ushort)OpBuilder.SegmentNumber(to);
            if (b.IsRegister(1))
            {
                op->Src = b.Offset(1);
                op->Run = &LoadFromRegister;
                return true;
            }
            b.Memory();
            op->Run = &LoadFromMemory;
            return true;
        }
        if (from.IsSegmentRegister())
        {
            op->Src = (ushort)OpBuilder.SegmentNumber(from);
            if (b.IsRegister(0))
            {
                op->Dst = b.Offset(0);
                op->OperandSize = (byte)b.RegisterSize(0);
                op->Run = &StoreToRegister;
                return true;
            }
            b.Memory();
            op->Run = &StoreToMemory;
            return true;
        }
        return ControlRegisters.BindMove(ref b);
    }

    /// <summary>Loads a segment register and ends the block; loading SS holds events off for one instruction (SDM Vol. 3, 6.8.3).</summary>
    internal static int Load(SoftwareVcpu cpu, CpuState* s, int segment, ushort selector, ulong nextRip)
    {
        if (!cpu.LoadSegment(segment, selector))
            return Status.Fault;
        s->Rip = nextRip;
        if (segment == SegmentIndex.Ss)
        {
            s->MovSsShadow = 1;
            cpu.RequestStep();
        }
        cpu.ModeChanged();
        return Status.BlockEnd;
    }

    private static int LoadFromRegister(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        Load(cpu, s, op->Dst, *(ushort*)((byte*)s + op->Src), op->NextRip);

    private static int LoadFromMemory(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        General.Linear(cpu, s, op, 2, write: false, out ulong linear) && GuestAccess.Load<W16>(cpu, s, op, linear, out ulong selector)
            ? Load(cpu, s, op->Dst, (ushort)selector, op->NextRip) : Status.Fault;

    private static int StoreToRegister(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ushort selector = cpu.Segment(op->Src)->Selector;
        if (op->OperandSize == 2)
            *(ushort*)((byte*)s + op->Dst) = selector;
        else
            *(ulong*)((byte*)s + op->Dst) = selector;
        return Status.Next;
    }

    private static int StoreToMemory(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        General.Linear(cpu, s, op, 2, write: true, out ulong linear)
            && GuestAccess.Store<W16>(cpu, s, op, linear, cpu.Segment(op->Src)->Selector) ? Status.Next : Status.Fault;

    private static bool BindLoadFar(ref OpBuilder b)
    {
        Op* op = b.Op;
        b.EndsBlock = true;
        op->Dst = b.Offset(0);
        op->OperandSize = (byte)b.RegisterSize(0);
        op->Src = (ushort)(b.Instruction.Mnemonic switch
        {
            Mnemonic.Lds => SegmentIndex.Ds,
            Mnemonic.Les => SegmentIndex.Es,
            Mnemonic.Lfs => SegmentIndex.Fs,
            Mnemonic.Lgs => SegmentIndex.Gs,
            _ => SegmentIndex.Ss,
        });
        b.Memory();
        op->Run = &LoadFar;
        return true;
    }

    private static int LoadFar(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        int size = op->OperandSize;
        if (!FarTransfer.LoadPointer(cpu, s, op, size, out ulong offset, out ushort selector))
            return Status.Fault;
        int status = Load(cpu, s, op->Src, selector, op->NextRip);
        if (status == Status.Fault)
            return status;
        byte* to = (byte*)s + op->Dst;
        if (size == 2)
            *(ushort*)to = (ushort)offset;
        else
            *(ulong*)to = offset;
        s->MovSsShadow = 0; // LSS, unlike MOV and POP, holds nothing off: it loads the pointer as well
        return status;
    }
}
