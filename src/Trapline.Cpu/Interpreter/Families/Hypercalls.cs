using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>VMCALL and VMMCALL, when the machine offers hypercalls.</summary>
public static unsafe class Hypercalls
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Vmcall, &Bind);
        r.Add(Mnemonic.Vmmcall, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Op->Run = &Call;
        return true;
    }

    private static int Call(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!cpu.Io.Hypercall(cpu.Index, new Span<ulong>(s->Gpr, 16)))
            return cpu.Undefined();
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }
}
