using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>VMCALL and VMMCALL on models with KVM's interface: either will do on any of them, as under KVM.</summary>
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
        if (!b.Model.Has(Feature.Kvm))
            return false;
        b.EndsBlock = true;
        b.Op->Run = &Call;
        return true;
    }

    private static int Call(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            s->Gpr[0] = s->Is64 != 0 ? NotPermitted : (uint)(NotPermitted & uint.MaxValue);
        else if (s->Is64 != 0)
            cpu.Io.Hypercall(cpu.Index, new Span<ulong>(s->Gpr, 16), is64: true);
        else
            CallBy32(cpu, s);
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static void CallBy32(SoftwareVcpu cpu, CpuState* s)
    {
        Span<ulong> halves = stackalloc ulong[16];
        for (int i = 0; i < halves.Length; i++)
            halves[i] = (uint)s->Gpr[i];
        cpu.Io.Hypercall(cpu.Index, halves, is64: false);
        s->Gpr[0] = (uint)halves[0];
    }
}
