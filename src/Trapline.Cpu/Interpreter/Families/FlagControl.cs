using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>CLC, STC, CMC, CLD, STD, LAHF, SAHF. CLI, STI, PUSHF and POPF, which need privilege, are with the system instructions.</summary>
public static unsafe class FlagControl
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Clc, &Bind);
        r.Add(Mnemonic.Stc, &Bind);
        r.Add(Mnemonic.Cmc, &Bind);
        r.Add(Mnemonic.Cld, &Bind);
        r.Add(Mnemonic.Std, &Bind);
        r.Add(Mnemonic.Lahf, &Bind);
        r.Add(Mnemonic.Sahf, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Clc => &Clc,
            Mnemonic.Stc => &Stc,
            Mnemonic.Cmc => &Cmc,
            Mnemonic.Cld => &Cld,
            Mnemonic.Std => &Std,
            Mnemonic.Lahf => &Lahf,
            _ => &Sahf,
        };
        return b.Instruction.Mnemonic is not (Mnemonic.Lahf or Mnemonic.Sahf) || !b.Is64 || b.Model.Has(Feature.LahfLm);
    }

    private static int Clc(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        Flags.SetCarry(s, false);
        return Status.Next;
    }

    private static int Stc(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        Flags.SetCarry(s, true);
        return Status.Next;
    }

    private static int Cmc(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        Flags.SetCarry(s, !Flags.Carry(s));
        return Status.Next;
    }

    private static int Cld(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        s->RFlags &= ~Rflags.Df;
        return Status.Next;
    }

    private static int Std(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        s->RFlags |= Rflags.Df;
        return Status.Next;
    }

    private const ulong LowFlags = Rflags.Cf | Rflags.Pf | Rflags.Af | Rflags.Zf | Rflags.Sf;

    private static int Lahf(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ((byte*)s->Gpr)[1] = (byte)((Flags.Arithmetic(s) & LowFlags) | Rflags.Fixed);
        return Status.Next;
    }

    private static int Sahf(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong ah = ((byte*)s->Gpr)[1];
        Flags.SetArithmetic(s, (Flags.Arithmetic(s) & Rflags.Of) | (ah & LowFlags));
        return Status.Next;
    }
}
