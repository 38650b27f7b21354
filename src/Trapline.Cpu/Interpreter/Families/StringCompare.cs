using System.Numerics;
using System.Runtime.Intrinsics;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM Vol. 2, 4.1): compare two strings of up to 16 bytes or 8 words.</summary>
/// <remarks>The memory operand need not be aligned, even in the legacy forms.</remarks>
internal static unsafe class StringCompare
{
    // The immediate (SDM Vol. 2, 4.1.1).
    private const int Words = 1;
    private const int Signed = 2;
    private const int EqualAny = 0, Ranges = 1, EqualEach = 2;
    private const int Negative = 0x10;
    private const int Masked = 0x20;
    /// <summary>The highest index rather than the lowest; or a mask of elements rather than of bits.</summary>
    private const int High = 0x40;

    public static void Register(Binders.Registry r)
    {
        foreach (Mnemonic m in (ReadOnlySpan<Mnemonic>)[
            Mnemonic.Pcmpestri, Mnemonic.Pcmpestri64, Mnemonic.Vpcmpestri, Mnemonic.Vpcmpestri64])
            r.Add(m, &Bind<Explicit, Index>);
        foreach (Mnemonic m in (ReadOnlySpan<Mnemonic>)[
            Mnemonic.Pcmpestrm, Mnemonic.Pcmpestrm64, Mnemonic.Vpcmpestrm, Mnemonic.Vpcmpestrm64])
            r.Add(m, &Bind<Explicit, Mask>);
        r.Add(Mnemonic.Pcmpistri, &Bind<Implicit, Index>);
        r.Add(Mnemonic.Vpcmpistri, &Bind<Implicit, Index>);
        r.Add(Mnemonic.Pcmpistrm, &Bind<Implicit, Mask>);
        r.Add(Mnemonic.Vpcmpistrm, &Bind<Implicit, Mask>);
    }

    /// <summary>Where the lengths come from.</summary>
    private interface ILengths
    {
        static abstract (int First, int Second) Get(CpuState* s, Op* op, Vector128<byte> a, Vector128<byte> b);
    }

    /// <summary>EAX and EDX, or RAX and RDX with REX.W: absolute values, saturated.</summary>
    private readonly struct Explicit : ILengths
    {
        public static (int First, int Second) Get(CpuState* s, Op* op, Vector128<byte> a, Vector128<byte> b) =>
            (Length(s->Gpr[0], op), Length(s->Gpr[2], op));

        private static int Length(ulong register, Op* op)
        {
            bool wide = (Code)op->Code is Code.Pcmpestri64_xmm_xmmm128_imm8 or Code.Pcmpestrm64_xmm_xmmm128_imm8
                or Code.VEX_Vpcmpestri64_xmm_xmmm128_imm8 or Code.VEX_Vpcmpestrm64_xmm_xmmm128_imm8;
            long value = wide ? (long)register : (int)register;
            ulong magnitude = value < 0 ? 0 - (ulong)value : (ulong)value;
            return (int)Math.Min(magnitude, (ulong)Count((int)op->Imm));
        }
    }

    /// <summary>Up to the first zero element.</summary>
    private readonly struct Implicit : ILengths
    {
        public static (int First, int Second) Get(CpuState* s, Op* op, Vector128<byte> a, Vector128<byte> b) =>
            (Length(a, (int)op->Imm), Length(b, (int)op->Imm));

        private static int Length(Vector128<byte> value, int imm)
        {
            uint zeros = (imm & Words) != 0
                ? Vector128.Equals(value.AsUInt16(), Vector128<ushort>.Zero).ExtractMostSignificantBits()
                : Vector128.Equals(value, Vector128<byte>.Zero).ExtractMostSignificantBits();
            return Math.Min(BitOperations.TrailingZeroCount(zeros), Count(imm));
        }
    }

    /// <summary>Where the result goes.</summary>
    private interface IResult
    {
        static abstract void Put<TEncoding>(CpuState* s, uint bits, int imm) where TEncoding : IEncoding;
    }

    private readonly struct Index : IResult
    {
        public static void Put<TEncoding>(CpuState* s, uint bits, int imm) where TEncoding : IEncoding =>
            s->Gpr[1] = bits == 0 ? (ulong)Count(imm)
                : (ulong)((imm & High) != 0 ? BitOperations.Log2(bits) : BitOperations.TrailingZeroCount(bits));
    }

    private readonly struct Mask : IResult
    {
        public static void Put<TEncoding>(CpuState* s, uint bits, int imm) where TEncoding : IEncoding
        {
            Vector128<byte> result = Vector128.CreateScalar(bits).AsByte();
            if ((imm & High) != 0)
                result = (imm & Words) != 0 ? Expand<ushort>(bits) : Expand<byte>(bits);
            TEncoding.Write(s, VectorForms.YmmOffset, result);
        }

        private static Vector128<byte> Expand<T>(uint bits) where T : unmanaged, IBinaryInteger<T>
        {
            Vector128<T> result = default;
            for (int i = 0; i < Vector128<T>.Count; i++)
                result = result.WithElement(i, (bits >> i & 1) != 0 ? T.AllBitsSet : T.Zero);
            return result.AsByte();
        }
    }

    private static bool Bind<TLengths, TResult>(ref OpBuilder b) where TLengths : ILengths where TResult : IResult
    {
        if (!VectorForms.Begin(ref b))
            return false;
        bool memory = (b.Op->Flags & OpFlags.Memory) != 0;
        if ((b.Op->Flags & OpFlags.Vex) == 0)
            b.Op->Run = memory ? &Run<TLengths, TResult, Sse, InMemory<AnyAddress>> : &Run<TLengths, TResult, Sse, InRegister>;
        else
            b.Op->Run = memory ? &Run<TLengths, TResult, Vex, InMemory<AnyAddress>> : &Run<TLengths, TResult, Vex, InRegister>;
        return true;
    }

    private static int Run<TLengths, TResult, TEncoding, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TLengths : ILengths where TResult : IResult where TEncoding : IEncoding where TSource : ISource
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load(cpu, s, op, out Vector128<byte> b))
            return Status.Fault;
        Vector128<byte> a = Vector128.Load((byte*)s + op->Dst);
        int imm = (int)op->Imm, count = Count(imm);
        (int first, int second) = TLengths.Get(s, op, a, b);
        uint bits = Compare(a, b, first, second, imm);
        TResult.Put<TEncoding>(s, bits, imm);
        ulong flags = (bits != 0 ? Rflags.Cf : 0) | (second < count ? Rflags.Zf : 0) | (first < count ? Rflags.Sf : 0)
            | ((bits & 1) != 0 ? Rflags.Of : 0);
        Flags.SetArithmetic(s, flags);
        return Status.Next;
    }

    private static int Count(int imm) => (imm & Words) != 0 ? 8 : 16;

    private static int Element(Vector128<byte> value, int index, int imm) => (imm & (Words | Signed)) switch
    {
        0 => value[index],
        Words => value.AsUInt16()[index],
        Signed => value.AsSByte()[index],
        _ => value.AsInt16()[index],
    };

    /// <summary>IntRes2: one bit for each element of b.</summary>
    private static uint Compare(Vector128<byte> a, Vector128<byte> b, int first, int second, int imm)
    {
        int count = Count(imm);
        uint result = 0;
        for (int j = 0; j < count; j++)
        {
            bool hit = ((imm >> 2) & 3) switch
            {
                EqualAny => j < second && InSet(a, Element(b, j, imm), first, imm),
                Ranges => j < second && InRange(a, Element(b, j, imm), first, imm),
                EqualEach => j < first && j < second ? Element(a, j, imm) == Element(b, j, imm) : j >= first && j >= second,
                _ => StartsAt(a, b, j, first, second, imm),
            };
            if (hit)
                result |= 1u << j;
        }
        if ((imm & Negative) != 0)
            result ^= (imm & Masked) != 0 ? (1u << second) - 1 : (1u << count) - 1;
        return result;
    }

    private static bool InSet(Vector128<byte> a, int element, int first, int imm)
    {
        for (int i = 0; i < first; i++)
            if (Element(a, i, imm) == element)
                return true;
        return false;
    }

    private static bool InRange(Vector128<byte> a, int element, int first, int imm)
    {
        for (int i = 0; i + 1 < first; i += 2)
            if (Element(a, i, imm) <= element && element <= Element(a, i + 1, imm))
                return true;
        return false;
    }

    /// <summary>The whole of a, or as much of it as the register still holds, is found in b from <paramref name="start"/> on.</summary>
    private static bool StartsAt(Vector128<byte> a, Vector128<byte> b, int start, int first, int second, int imm)
    {
        int count = Count(imm);
        for (int i = 0; i < first && start + i < count; i++)
            if (start + i >= second || Element(a, i, imm) != Element(b, start + i, imm))
                return false;
        return true;
    }
}
