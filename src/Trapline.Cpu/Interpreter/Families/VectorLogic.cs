using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>AND, ANDN, OR and XOR of whole registers, under their integer and floating-point names; PTEST and VTESTPS/PD.</summary>
internal static unsafe class VectorLogic
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        Add<And>(r, [Mnemonic.Pand, Mnemonic.Vpand, Mnemonic.Andps, Mnemonic.Vandps, Mnemonic.Andpd, Mnemonic.Vandpd]);
        Add<AndNot>(r, [Mnemonic.Pandn, Mnemonic.Vpandn, Mnemonic.Andnps, Mnemonic.Vandnps, Mnemonic.Andnpd, Mnemonic.Vandnpd]);
        Add<Or>(r, [Mnemonic.Por, Mnemonic.Vpor, Mnemonic.Orps, Mnemonic.Vorps, Mnemonic.Orpd, Mnemonic.Vorpd]);
        Add<Xor>(r, [Mnemonic.Pxor, Mnemonic.Vpxor, Mnemonic.Xorps, Mnemonic.Vxorps, Mnemonic.Xorpd, Mnemonic.Vxorpd]);
        AddTest<AllBits>(r, [Mnemonic.Ptest, Mnemonic.Vptest]);
        AddTest<SingleSigns>(r, [Mnemonic.Vtestps]);
        AddTest<DoubleSigns>(r, [Mnemonic.Vtestpd]);
    }

    private static void Add<TOperation>(Binders.Registry r, ReadOnlySpan<Mnemonic> mnemonics) where TOperation : IVectorBinary
    {
        foreach (Mnemonic mnemonic in mnemonics)
            r.Add(mnemonic, &VectorForms.Bind<TOperation>);
    }

    private readonly struct And : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a & b;
    }

    private readonly struct AndNot : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => ~a & b;
    }

    private readonly struct Or : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a | b;
    }

    private readonly struct Xor : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a ^ b;
    }

    /// <summary>Which bits a test looks at.</summary>
    private interface ITestedBits
    {
        static abstract Vector256<byte> Mask { get; }
    }

    private readonly struct AllBits : ITestedBits
    {
        public static Vector256<byte> Mask { [MethodImpl(Inline)] get => Vector256<byte>.AllBitsSet; }
    }

    private readonly struct SingleSigns : ITestedBits
    {
        public static Vector256<byte> Mask { [MethodImpl(Inline)] get => Vector256.Create(0x8000_0000u).AsByte(); }
    }

    private readonly struct DoubleSigns : ITestedBits
    {
        public static Vector256<byte> Mask { [MethodImpl(Inline)] get => Vector256.Create(0x8000_0000_0000_0000ul).AsByte(); }
    }

    private static void AddTest<TBits>(Binders.Registry r, ReadOnlySpan<Mnemonic> mnemonics) where TBits : ITestedBits
    {
        foreach (Mnemonic mnemonic in mnemonics)
            r.Add(mnemonic, &BindTest<TBits>);
    }

    private static bool BindTest<TBits>(ref OpBuilder b) where TBits : ITestedBits
    {
        if (!VectorForms.Begin(ref b))
            return false;
        bool memory = (b.Op->Flags & OpFlags.Memory) != 0;
        if ((b.Op->Flags & OpFlags.Vex) == 0)
            b.Op->Run = memory ? &Test<TBits, Sse, InOperandMemory> : &Test<TBits, Sse, InRegister>;
        else
            b.Op->Run = memory ? &Test<TBits, Vex, InMemory<AnyAddress>> : &Test<TBits, Vex, InRegister>;
        return true;
    }

    private static int Test<TBits, TEncoding, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TBits : ITestedBits where TEncoding : IEncoding where TSource : ISource
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        Vector256<byte> a = Vector256.Load((byte*)s + op->Dst), b;
        if ((op->Flags & OpFlags.Wide) == 0)
        {
            if (!TSource.Load(cpu, s, op, out Vector128<byte> narrow))
                return Status.Fault;
            a = a.GetLower().ToVector256();
            b = narrow.ToVector256();
        }
        else if (!TSource.Load256(cpu, s, op, out b))
        {
            return Status.Fault;
        }
        bool zero = (a & b & TBits.Mask) == Vector256<byte>.Zero;
        bool carry = (~a & b & TBits.Mask) == Vector256<byte>.Zero;
        Flags.SetArithmetic(s, (zero ? X86.Rflags.Zf : 0) | (carry ? X86.Rflags.Cf : 0));
        return Status.Next;
    }
}
