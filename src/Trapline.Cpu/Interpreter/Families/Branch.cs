using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Near JMP, Jcc, CALL, RET, LOOP, JCXZ. Far transfers are with the system instructions.</summary>
public static unsafe class Branch
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Jmp, &BindJump);
        r.Add(Mnemonic.Call, &BindCall);
        r.Add(Mnemonic.Ret, &BindReturn);
        r.Add(Mnemonic.Jo, &BindConditional<Condition.O>);
        r.Add(Mnemonic.Jno, &BindConditional<Condition.No>);
        r.Add(Mnemonic.Jb, &BindConditional<Condition.B>);
        r.Add(Mnemonic.Jae, &BindConditional<Condition.Ae>);
        r.Add(Mnemonic.Je, &BindConditional<Condition.E>);
        r.Add(Mnemonic.Jne, &BindConditional<Condition.Ne>);
        r.Add(Mnemonic.Jbe, &BindConditional<Condition.Be>);
        r.Add(Mnemonic.Ja, &BindConditional<Condition.A>);
        r.Add(Mnemonic.Js, &BindConditional<Condition.S>);
        r.Add(Mnemonic.Jns, &BindConditional<Condition.Ns>);
        r.Add(Mnemonic.Jp, &BindConditional<Condition.P>);
        r.Add(Mnemonic.Jnp, &BindConditional<Condition.Np>);
        r.Add(Mnemonic.Jl, &BindConditional<Condition.L>);
        r.Add(Mnemonic.Jge, &BindConditional<Condition.Ge>);
        r.Add(Mnemonic.Jle, &BindConditional<Condition.Le>);
        r.Add(Mnemonic.Jg, &BindConditional<Condition.G>);
        r.Add(Mnemonic.Loop, &BindLoop);
        r.Add(Mnemonic.Loope, &BindLoop);
        r.Add(Mnemonic.Loopne, &BindLoop);
        r.Add(Mnemonic.Jcxz, &BindLoop);
        r.Add(Mnemonic.Jecxz, &BindLoop);
        r.Add(Mnemonic.Jrcxz, &BindLoop);
    }

    private static bool IsFar(ref OpBuilder b) =>
        b.Kind(0) is OpKind.FarBranch16 or OpKind.FarBranch32
        || (b.IsMemory(0) && b.Instruction.MemorySize is MemorySize.SegPtr16 or MemorySize.SegPtr32 or MemorySize.SegPtr64);

    /// <summary>Operand size of a near branch: 8 in 64-bit code, else by prefix and code size.</summary>
    private static byte NearSize(ref OpBuilder b) => b.Kind(0) switch
    {
        OpKind.NearBranch16 => 2,
        OpKind.NearBranch32 => 4,
        OpKind.NearBranch64 => 8,
        OpKind.Register => (byte)b.RegisterSize(0),
        _ => (byte)b.Instruction.MemorySize.GetSize(),
    };

    private static bool BindJump(ref OpBuilder b)
    {
        b.EndsBlock = true;
        if (IsFar(ref b))
            return FarTransfer.BindJump(ref b);
        Op* op = b.Op;
        op->OperandSize = NearSize(ref b);
        if (b.IsRegister(0))
        {
            op->Src = b.Offset(0);
            op->Run = op->OperandSize switch { 2 => &JumpReg<W16>, 4 => &JumpReg<W32>, _ => &JumpReg<W64> };
        }
        else if (b.IsMemory(0))
        {
            b.Memory();
            op->Run = &JumpMem;
        }
        else
        {
            op->Imm = b.Instruction.NearBranchTarget;
            op->Run = &Jump;
        }
        return true;
    }

    private static bool BindCall(ref OpBuilder b)
    {
        b.EndsBlock = true;
        if (IsFar(ref b))
            return FarTransfer.BindCall(ref b);
        Op* op = b.Op;
        op->OperandSize = NearSize(ref b);
        if (b.IsRegister(0))
        {
            op->Src = b.Offset(0);
            op->Run = &CallReg;
        }
        else if (b.IsMemory(0))
        {
            b.Memory();
            op->Run = &CallMem;
        }
        else
        {
            op->Imm = b.Instruction.NearBranchTarget;
            op->Run = b.Is64 && op->OperandSize == 8 ? &Call64 : &Call;
        }
        return true;
    }

    private static bool BindReturn(ref OpBuilder b)
    {
        b.EndsBlock = true;
        Op* op = b.Op;
        op->OperandSize = (byte)(b.Instruction.Code switch
        {
            Code.Retnw or Code.Retnw_imm16 => 2,
            Code.Retnd or Code.Retnd_imm16 => 4,
            _ => 8,
        });
        op->Imm = b.Instruction.OpCount == 1 ? b.Immediate(0) : 0;
        op->Run = b.Is64 && op->OperandSize == 8 ? &Return64 : &Return;
        return true;
    }

    private static bool BindConditional<TCondition>(ref OpBuilder b) where TCondition : ICondition
    {
        b.EndsBlock = true;
        b.Op->Imm = b.Instruction.NearBranchTarget;
        b.Op->OperandSize = NearSize(ref b);
        b.Op->Run = &Conditional<TCondition>;
        return true;
    }

    private static bool BindLoop(ref OpBuilder b)
    {
        b.EndsBlock = true;
        Op* op = b.Op;
        op->Imm = b.Instruction.NearBranchTarget;
        op->OperandSize = NearSize(ref b);
        op->AddressSize = (byte)(b.Instruction.Code switch
        {
            Code.Jcxz_rel8_16 or Code.Jcxz_rel8_32 or Code.Loop_rel8_16_CX or Code.Loop_rel8_32_CX
                or Code.Loope_rel8_16_CX or Code.Loope_rel8_32_CX or Code.Loopne_rel8_16_CX or Code.Loopne_rel8_32_CX => 2,
            Code.Jecxz_rel8_16 or Code.Jecxz_rel8_32 or Code.Jecxz_rel8_64 or Code.Loop_rel8_16_ECX or Code.Loop_rel8_32_ECX or Code.Loop_rel8_64_ECX
                or Code.Loope_rel8_16_ECX or Code.Loope_rel8_32_ECX or Code.Loope_rel8_64_ECX
                or Code.Loopne_rel8_16_ECX or Code.Loopne_rel8_32_ECX or Code.Loopne_rel8_64_ECX => 4,
            _ => 8,
        });
        op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Loop => &Loop,
            Mnemonic.Loope => &LoopEqual,
            Mnemonic.Loopne => &LoopNotEqual,
            _ => &JumpIfCountZero,
        };
        return true;
    }

    /// <summary>Sets RIP to a near target; beyond the code segment's limit or non-canonical: #GP(0) with nothing changed.</summary>
    private static int GoTo(SoftwareVcpu cpu, CpuState* s, ulong target) => cpu.CheckTarget(target) ? Arrive(s, target) : Status.Fault;

    private static int Arrive(CpuState* s, ulong target)
    {
        s->Rip = target;
        return Status.BlockEnd;
    }

    private static int Conditional<TCondition>(SoftwareVcpu cpu, CpuState* s, Op* op) where TCondition : ICondition
    {
        if (TCondition.Test(s))
            return GoTo(cpu, s, op->Imm);
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int Jump(SoftwareVcpu cpu, CpuState* s, Op* op) => GoTo(cpu, s, op->Imm);

    private static int JumpReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth => GoTo(cpu, s, TWidth.Get((byte*)s + op->Src));

    private static int JumpMem(SoftwareVcpu cpu, CpuState* s, Op* op) => LoadTarget(cpu, s, op, out ulong target) ? GoTo(cpu, s, target) : Status.Fault;

    private static bool LoadTarget(SoftwareVcpu cpu, CpuState* s, Op* op, out ulong target)
    {
        target = 0;
        return General.Linear(cpu, s, op, op->OperandSize, write: false, out ulong linear)
            && GuestAccess.Load(cpu, s, op, linear, op->OperandSize, out target);
    }

    private static int Call64(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong linear = s->Gpr[4] - 8;
        byte* p = GuestAccess.WritePointer(s, linear, 8);
        if (p == null)
            return Call(cpu, s, op);
        if (!cpu.CheckTarget(op->Imm))
            return Status.Fault;
        *(ulong*)p = op->NextRip;
        s->Gpr[4] = linear;
        s->Rip = op->Imm;
        return Status.BlockEnd;
    }

    private static int Call(SoftwareVcpu cpu, CpuState* s, Op* op) => CallTo(cpu, s, op, op->Imm);

    private static int CallReg(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong target = *(ulong*)((byte*)s + op->Src);
        return CallTo(cpu, s, op, op->OperandSize switch { 2 => (ushort)target, 4 => (uint)target, _ => target });
    }

    private static int CallMem(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        LoadTarget(cpu, s, op, out ulong target) ? CallTo(cpu, s, op, target) : Status.Fault;

    private static int CallTo(SoftwareVcpu cpu, CpuState* s, Op* op, ulong target)
    {
        // The stack's faults come before the target's, and a refused call leaves the stack as it was.
        if (!cpu.CheckTarget(target))
            return cpu.CheckPush(op->OperandSize) ? cpu.GeneralProtection() : Status.Fault;
        if (!cpu.Push(op->NextRip, op->OperandSize))
            return Status.Fault;
        s->Rip = target;
        return Status.BlockEnd;
    }

    private static int Return64(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        byte* p = GuestAccess.ReadPointer(s, s->Gpr[4], 8);
        if (p == null)
            return Return(cpu, s, op);
        ulong target = *(ulong*)p;
        if (!cpu.CheckTarget(target))
            return Status.Fault;
        s->Gpr[4] += 8 + op->Imm;
        s->Rip = target;
        return Status.BlockEnd;
    }

    private static int Return(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!cpu.Peek(0, op->OperandSize, out ulong target) || !cpu.CheckTarget(target))
            return Status.Fault;
        cpu.SetStackPointer(s->Gpr[4] + op->OperandSize + op->Imm);
        s->Rip = target;
        return Status.BlockEnd;
    }

    /// <summary>Decrements the count register of the address size and tells whether it is not zero.</summary>
    private static bool CountDown(CpuState* s, Op* op, out ulong next)
    {
        ulong count = s->Gpr[1];
        switch (op->AddressSize)
        {
            case 2:
                next = (count & ~0xFFFFul) | (ushort)(count - 1);
                return (ushort)next != 0;
            case 4:
                next = (uint)(count - 1);
                return next != 0;
            default:
                next = count - 1;
                return next != 0;
        }
    }

    private static int LoopIf(SoftwareVcpu cpu, CpuState* s, Op* op, bool condition)
    {
        bool more = CountDown(s, op, out ulong next);
        if (more && condition && !cpu.CheckTarget(op->Imm))
            return Status.Fault;
        s->Gpr[1] = next;
        s->Rip = more && condition ? op->Imm : op->NextRip;
        return Status.BlockEnd;
    }

    private static int Loop(SoftwareVcpu cpu, CpuState* s, Op* op) => LoopIf(cpu, s, op, true);

    private static int LoopEqual(SoftwareVcpu cpu, CpuState* s, Op* op) => LoopIf(cpu, s, op, Flags.Zero(s));

    private static int LoopNotEqual(SoftwareVcpu cpu, CpuState* s, Op* op) => LoopIf(cpu, s, op, !Flags.Zero(s));

    private static int JumpIfCountZero(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong count = s->Gpr[1];
        bool zero = op->AddressSize switch { 2 => (ushort)count == 0, 4 => (uint)count == 0, _ => count == 0 };
        if (zero)
            return GoTo(cpu, s, op->Imm);
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }
}
