using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Sign extension within the accumulator: CBW, CWDE, CDQE; into rDX: CWD, CDQ, CQO.</summary>
public static unsafe class Convert
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Cbw, &Bind);
        r.Add(Mnemonic.Cwde, &Bind);
        r.Add(Mnemonic.Cdqe, &Bind);
        r.Add(Mnemonic.Cwd, &Bind);
        r.Add(Mnemonic.Cdq, &Bind);
        r.Add(Mnemonic.Cqo, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Cbw => &Cbw,
            Mnemonic.Cwde => &Cwde,
            Mnemonic.Cdqe => &Cdqe,
            Mnemonic.Cwd => &Cwd,
            Mnemonic.Cdq => &Cdq,
            _ => &Cqo,
        };
        return true;
    }

    private static int Cbw(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        W16.SetRegister(&s->Gpr[0], (ulong)(sbyte)s->Gpr[0]);
        return Status.Next;
    }

    private static int Cwde(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        W32.SetRegister(&s->Gpr[0], (ulong)(short)s->Gpr[0]);
        return Status.Next;
    }

    private static int Cdqe(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        s->Gpr[0] = (ulong)(int)s->Gpr[0];
        return Status.Next;
    }

    private static int Cwd(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        W16.SetRegister(&s->Gpr[2], (ulong)((short)s->Gpr[0] >> 15));
        return Status.Next;
    }

    private static int Cdq(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        W32.SetRegister(&s->Gpr[2], (ulong)((int)s->Gpr[0] >> 31));
        return Status.Next;
    }

    private static int Cqo(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        s->Gpr[2] = (ulong)((long)s->Gpr[0] >> 63);
        return Status.Next;
    }
}
