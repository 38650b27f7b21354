using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>ADCX and ADOX: additions whose carry chain is CF, or OF, alone.</summary>
public static unsafe class Adx
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Adcx, &Bind);
        r.Add(Mnemonic.Adox, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        bool carry = b.Instruction.Mnemonic == Mnemonic.Adcx, wide = b.RegisterSize(0) == 8;
        b.Op->Dst = b.Offset(0);
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            b.Op->Run = carry ? wide ? &Reg<W64, Carry> : &Reg<W32, Carry> : wide ? &Reg<W64, Overflow> : &Reg<W32, Overflow>;
        }
        else
        {
            b.Memory();
            b.Op->Run = carry ? wide ? &Mem<W64, Carry> : &Mem<W32, Carry> : wide ? &Mem<W64, Overflow> : &Mem<W32, Overflow>;
        }
        return b.Model.Has(Feature.Adx);
    }

    private interface IChain
    {
        static abstract ulong Get(CpuState* s);
        static abstract void Set(CpuState* s, bool carry);
    }

    private readonly struct Carry : IChain
    {
        public static ulong Get(CpuState* s) => Flags.CarryBit(s);
        public static void Set(CpuState* s, bool carry) => Flags.SetCarry(s, carry);
    }

    private readonly struct Overflow : IChain
    {
        public static ulong Get(CpuState* s) => Flags.Overflow(s) ? 1ul : 0;
        public static void Set(CpuState* s, bool carry) => Flags.SetOverflow(s, carry);
    }

    private static int Reg<TWidth, TChain>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TChain : IChain =>
        Add<TWidth, TChain>(s, op, TWidth.Get((byte*)s + op->Src));

    private static int Mem<TWidth, TChain>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TChain : IChain =>
        General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value)
            ? Add<TWidth, TChain>(s, op, value) : Status.Fault;

    private static int Add<TWidth, TChain>(CpuState* s, Op* op, ulong b) where TWidth : IWidth where TChain : IChain
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination);
        ulong r = TWidth.Truncate(a + b + TChain.Get(s));
        TWidth.SetRegister(destination, r);
        TChain.Set(s, (((a & b) | ((a | b) & ~r)) >> (TWidth.Bits - 1) & 1) != 0);
        return Status.Next;
    }
}
