using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>RDRAND and RDSEED: always ready (CF = 1), from the host's cryptographic generator.</summary>
public static unsafe class RandomNumbers
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Rdrand, &Bind);
        r.Add(Mnemonic.Rdseed, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        b.Op->Dst = b.Offset(0);
        b.Op->Run = b.RegisterSize(0) switch { 2 => &Draw<W16>, 4 => &Draw<W32>, _ => &Draw<W64> };
        return b.Model.Has(b.Instruction.Mnemonic == Mnemonic.Rdrand ? Feature.Rdrand : Feature.Rdseed);
    }

    private static int Draw<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        TWidth.SetRegister((byte*)s + op->Dst, cpu.Entropy.Next());
        Flags.SetArithmetic(s, Rflags.Cf);
        return Status.Next;
    }
}
