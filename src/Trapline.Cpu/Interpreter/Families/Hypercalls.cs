using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>VMCALL and VMMCALL, when the machine offers hypercalls.</summary>
public static unsafe class Hypercalls
{
    /// <summary>-KVM_EPERM: what KVM answers above ring 0 (Linux, Documentation/virt/kvm/x86/hypercalls.rst).</summary>
    private const ulong NotPermitted = ulong.MaxValue;

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
        if (s->Cpl != 0)
            s->Gpr[0] = NotPermitted;
        else if (!cpu.Io.Hypercall(cpu.Index, new Span<ulong>(s->Gpr, 16)))
            return cpu.Undefined();
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }
}
