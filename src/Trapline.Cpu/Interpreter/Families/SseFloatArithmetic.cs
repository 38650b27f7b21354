using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Add, subtract, multiply, divide, minimum, maximum, square root, rounding, approximations, and the horizontal forms.</summary>
public static unsafe partial class SseFloat
{
    private static void RegisterArithmetic(Binders.Registry r)
    {
        r.Add(Mnemonic.Addps, &BindPacked<AddOp, Single>);
        r.Add(Mnemonic.Vaddps, &BindPacked<AddOp, Single>);
        r.Add(Mnemonic.Addpd, &BindPacked<AddOp, Double>);
        r.Add(Mnemonic.Vaddpd, &BindPacked<AddOp, Double>);
        r.Add(Mnemonic.Addss, &BindScalar<AddOp, Single>);
        r.Add(Mnemonic.Vaddss, &BindScalar<AddOp, Single>);
        r.Add(Mnemonic.Addsd, &BindScalar<AddOp, Double>);
        r.Add(Mnemonic.Vaddsd, &BindScalar<AddOp, Double>);
        r.Add(Mnemonic.Subps, &BindPacked<SubtractOp, Single>);
        r.Add(Mnemonic.Vsubps, &BindPacked<SubtractOp, Single>);
        r.Add(Mnemonic.Subpd, &BindPacked<SubtractOp, Double>);
        r.Add(Mnemonic.Vsubpd, &BindPacked<SubtractOp, Double>);
        r.Add(Mnemonic.Subss, &BindScalar<SubtractOp, Single>);
        r.Add(Mnemonic.Vsubss, &BindScalar<SubtractOp, Single>);
        r.Add(Mnemonic.Subsd, &BindScalar<SubtractOp, Double>);
        r.Add(Mnemonic.Vsubsd, &BindScalar<SubtractOp, Double>);
        r.Add(Mnemonic.Mulps, &BindPacked<MultiplyOp, Single>);
        r.Add(Mnemonic.Vmulps, &BindPacked<MultiplyOp, Single>);
        r.Add(Mnemonic.Mulpd, &BindPacked<MultiplyOp, Double>);
        r.Add(Mnemonic.Vmulpd, &BindPacked<MultiplyOp, Double>);
        r.Add(Mnemonic.Mulss, &BindScalar<MultiplyOp, Single>);
        r.Add(Mnemonic.Vmulss, &BindScalar<MultiplyOp, Single>);
        r.Add(Mnemonic.Mulsd, &BindScalar<MultiplyOp, Double>);
        r.Add(Mnemonic.Vmulsd, &BindScalar<MultiplyOp, Double>);
        r.Add(Mnemonic.Divps, &BindPacked<DivideOp, Single>);
        r.Add(Mnemonic.Vdivps, &BindPacked<DivideOp, Single>);
        r.Add(Mnemonic.Divpd, &BindPacked<DivideOp, Double>);
        r.Add(Mnemonic.Vdivpd, &BindPacked<DivideOp, Double>);
        r.Add(Mnemonic.Divss, &BindScalar<DivideOp, Single>);
        r.Add(Mnemonic.Vdivss, &BindScalar<DivideOp, Single>);
        r.Add(Mnemonic.Divsd, &BindScalar<DivideOp, Double>);
        r.Add(Mnemonic.Vdivsd, &BindScalar<DivideOp, Double>);
        r.Add(Mnemonic.Minps, &BindPacked<MinOp, Single>);
        r.Add(Mnemonic.Vminps, &BindPacked<MinOp, Single>);
        r.Add(Mnemonic.Minpd, &BindPacked<MinOp, Double>);
        r.Add(Mnemonic.Vminpd, &BindPacked<MinOp, Double>);
        r.Add(Mnemonic.Minss, &BindScalar<MinOp, Single>);
        r.Add(Mnemonic.Vminss, &BindScalar<MinOp, Single>);
        r.Add(Mnemonic.Minsd, &BindScalar<MinOp, Double>);
        r.Add(Mnemonic.Vminsd, &BindScalar<MinOp, Double>);
        r.Add(Mnemonic.Maxps, &BindPacked<MaxOp, Single>);
        r.Add(Mnemonic.Vmaxps, &BindPacked<MaxOp, Single>);
        r.Add(Mnemonic.Maxpd, &BindPacked<MaxOp, Double>);
        r.Add(Mnemonic.Vmaxpd, &BindPacked<MaxOp, Double>);
        r.Add(Mnemonic.Maxss, &BindScalar<MaxOp, Single>);
        r.Add(Mnemonic.Vmaxss, &BindScalar<MaxOp, Single>);
        r.Add(Mnemonic.Maxsd, &BindScalar<MaxOp, Double>);
        r.Add(Mnemonic.Vmaxsd, &BindScalar<MaxOp, Double>);
        r.Add(Mnemonic.Sqrtps, &BindPackedUnary<SquareRootOp, Single>);
        r.Add(Mnemonic.Vsqrtps, &BindPackedUnary<SquareRootOp, Single>);
        r.Add(Mnemonic.Sqrtpd, &BindPackedUnary<SquareRootOp, Double>);
        r.Add(Mnemonic.Vsqrtpd, &BindPackedUnary<SquareRootOp, Double>);
        r.Add(Mnemonic.Sqrtss, &BindScalar<SquareRootOp, Single>);
        r.Add(Mnemonic.Vsqrtss, &BindScalar<SquareRootOp, Single>);
        r.Add(Mnemonic.Sqrtsd, &BindScalar<SquareRootOp, Double>);
        r.Add(Mnemonic.Vsqrtsd, &BindScalar<SquareRootOp, Double>);
        r.Add(Mnemonic.Roundps, &BindPackedUnary<RoundOp, Single>);
        r.Add(Mnemonic.Vroundps, &BindPackedUnary<RoundOp, Single>);
        r.Add(Mnemonic.Roundpd, &BindPackedUnary<RoundOp, Double>);
        r.Add(Mnemonic.Vroundpd, &BindPackedUnary<RoundOp, Double>);
        r.Add(Mnemonic.Roundss, &BindScalar<RoundOp, Single>);
        r.Add(Mnemonic.Vroundss, &BindScalar<RoundOp, Single>);
        r.Add(Mnemonic.Roundsd, &BindScalar<RoundOp, Double>);
        r.Add(Mnemonic.Vroundsd, &BindScalar<RoundOp, Double>);
        r.Add(Mnemonic.Rcpps, &BindPackedUnary<ReciprocalOp, Single>);
        r.Add(Mnemonic.Vrcpps, &BindPackedUnary<ReciprocalOp, Single>);
        r.Add(Mnemonic.Rcpss, &BindScalar<ReciprocalOp, Single>);
        r.Add(Mnemonic.Vrcpss, &BindScalar<ReciprocalOp, Single>);
        r.Add(Mnemonic.Rsqrtps, &BindPackedUnary<ReciprocalSquareRootOp, Single>);
        r.Add(Mnemonic.Vrsqrtps, &BindPackedUnary<ReciprocalSquareRootOp, Single>);
        r.Add(Mnemonic.Rsqrtss, &BindScalar<ReciprocalSquareRootOp, Single>);
        r.Add(Mnemonic.Vrsqrtss, &BindScalar<ReciprocalSquareRootOp, Single>);
        r.Add(Mnemonic.Addsubps, &BindAddSub<Single>);
        r.Add(Mnemonic.Vaddsubps, &BindAddSub<Single>);
        r.Add(Mnemonic.Addsubpd, &BindAddSub<Double>);
        r.Add(Mnemonic.Vaddsubpd, &BindAddSub<Double>);
        r.Add(Mnemonic.Haddps, &BindHorizontalAdd<Single>);
        r.Add(Mnemonic.Vhaddps, &BindHorizontalAdd<Single>);
        r.Add(Mnemonic.Haddpd, &BindHorizontalAdd<Double>);
        r.Add(Mnemonic.Vhaddpd, &BindHorizontalAdd<Double>);
        r.Add(Mnemonic.Hsubps, &BindHorizontalSubtract<Single>);
        r.Add(Mnemonic.Vhsubps, &BindHorizontalSubtract<Single>);
        r.Add(Mnemonic.Hsubpd, &BindHorizontalSubtract<Double>);
        r.Add(Mnemonic.Vhsubpd, &BindHorizontalSubtract<Double>);
        r.Add(Mnemonic.Dpps, &BindDotProduct<Single>);
        r.Add(Mnemonic.Vdpps, &BindDotProduct<Single>);
        r.Add(Mnemonic.Dppd, &BindDotProduct<Double>);
        r.Add(Mnemonic.Vdppd, &BindDotProduct<Double>);
    }

    /// <summary>One element's operation; <c>op</c> gives those that need it their immediate. Unary ones use <c>b</c>.</summary>
    private interface IOperation
    {
        static abstract ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement;
    }

    private readonly struct AddOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.Add((uint)a, (uint)b, ref status) : F64.Add(a, b, ref status);
    }

    private readonly struct SubtractOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.Subtract((uint)a, (uint)b, ref status) : F64.Subtract(a, b, ref status);
    }

    private readonly struct MultiplyOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.Multiply((uint)a, (uint)b, ref status) : F64.Multiply(a, b, ref status);
    }

    private readonly struct DivideOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.Divide((uint)a, (uint)b, ref status) : F64.Divide(a, b, ref status);
    }

    private readonly struct MinOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.Min((uint)a, (uint)b, ref status) : F64.Min(a, b, ref status);
    }

    private readonly struct MaxOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.Max((uint)a, (uint)b, ref status) : F64.Max(a, b, ref status);
    }

    private readonly struct SquareRootOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.SquareRoot((uint)b, ref status) : F64.SquareRoot(b, ref status);
    }

    private readonly struct RoundOp : IOperation
    {
        [MethodImpl(Inline)]
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement =>
            IsSingle<TElement>() ? F32.RoundToIntegral((uint)b, (byte)op->Imm, ref status) : F64.RoundToIntegral(b, (byte)op->Imm, ref status);
    }

    private readonly struct ReciprocalOp : IOperation
    {
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement => F32.ReciprocalApproximate((uint)b);
    }

    private readonly struct ReciprocalSquareRootOp : IOperation
    {
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement => F32.ReciprocalSquareRootApproximate((uint)b);
    }

    private static bool BindPacked<TOp, TElement>(ref OpBuilder b) where TOp : IOperation where TElement : IElement
    {
        b.Op->Run = &Packed<TOp, TElement>;
        return Prepare(ref b);
    }

    private static int Packed<TOp, TElement>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IOperation where TElement : IElement
    {
        byte* buffer = stackalloc byte[32];
        byte* result = stackalloc byte[32];
        if (!Begin(cpu, s, op))
            return Status.Fault;
        byte* right = Operand(cpu, s, op, buffer);
        if (right == null)
            return Status.Fault;
        byte* left = (byte*)s + op->Src2;
        FloatStatus status = new(s->Mxcsr);
        int bytes = VectorBytes(op);
        for (int i = 0; i < bytes; i += TElement.Bytes)
            Put<TElement>(result + i, TOp.Apply<TElement>(op, Get<TElement>(left + i), Get<TElement>(right + i), ref status));
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteVector(s, op, result);
        return Status.Next;
    }

    /// <summary>Square root and the like: the one source is the last operand.</summary>
    private static bool BindPackedUnary<TOp, TElement>(ref OpBuilder b) where TOp : IOperation where TElement : IElement =>
        BindPacked<TOp, TElement>(ref b);

    private static bool BindScalar<TOp, TElement>(ref OpBuilder b) where TOp : IOperation where TElement : IElement
    {
        b.Op->Run = &Scalar<TOp, TElement>;
        return Prepare(ref b);
    }

    private static int Scalar<TOp, TElement>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IOperation where TElement : IElement
    {
        if (!Begin(cpu, s, op) || !ScalarOperand<TElement>(cpu, s, op, out ulong right))
            return Status.Fault;
        FloatStatus status = new(s->Mxcsr);
        ulong result = TOp.Apply<TElement>(op, Get<TElement>((byte*)s + op->Src2), right, ref status);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteScalar<TElement>(s, op, result);
        return Status.Next;
    }

    /// <summary>One element from the second source. False: a fault is pending.</summary>
    [MethodImpl(Inline)]
    private static bool ScalarOperand<TElement>(SoftwareVcpu cpu, CpuState* s, Op* op, out ulong value) where TElement : IElement
    {
        if ((op->Flags & OpFlags.Memory) == 0)
        {
            value = Get<TElement>((byte*)s + op->Src);
            return true;
        }
        value = 0;
        return Address(cpu, s, op, TElement.Bytes, write: false, out ulong linear)
            && (IsSingle<TElement>()
                ? GuestAccess.Load<W32>(cpu, s, op, linear, out value)
                : GuestAccess.Load<W64>(cpu, s, op, linear, out value));
    }

    private static bool BindAddSub<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = &AddSub<TElement>;
        return Prepare(ref b);
    }

    /// <summary>Even elements are subtracted, odd ones added.</summary>
    private static int AddSub<TElement>(SoftwareVcpu cpu, CpuState* s, Op* op) where TElement : IElement
    {
        byte* buffer = stackalloc byte[32];
        byte* result = stackalloc byte[32];
        if (!Begin(cpu, s, op))
            return Status.Fault;
        byte* right = Operand(cpu, s, op, buffer);
        if (right == null)
            return Status.Fault;
        byte* left = (byte*)s + op->Src2;
        FloatStatus status = new(s->Mxcsr);
        int bytes = VectorBytes(op);
        for (int i = 0; i < bytes; i += TElement.Bytes)
        {
            ulong a = Get<TElement>(left + i), b = Get<TElement>(right + i);
            Put<TElement>(result + i, (i & TElement.Bytes) != 0
                ? AddOp.Apply<TElement>(op, a, b, ref status)
                : SubtractOp.Apply<TElement>(op, a, b, ref status));
        }
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteVector(s, op, result);
        return Status.Next;
    }

    private static bool BindHorizontalAdd<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = &Horizontal<AddOp, TElement>;
        return Prepare(ref b);
    }

    private static bool BindHorizontalSubtract<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = &Horizontal<SubtractOp, TElement>;
        return Prepare(ref b);
    }

    /// <summary>In each 16 bytes: neighbours of the first source make the low half, neighbours of the second the high half.</summary>
    private static int Horizontal<TOp, TElement>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IOperation where TElement : IElement
    {
        byte* buffer = stackalloc byte[32];
        byte* result = stackalloc byte[32];
        if (!Begin(cpu, s, op))
            return Status.Fault;
        byte* right = Operand(cpu, s, op, buffer);
        if (right == null)
            return Status.Fault;
        byte* left = (byte*)s + op->Src2;
        FloatStatus status = new(s->Mxcsr);
        int bytes = VectorBytes(op);
        for (int lane = 0; lane < bytes; lane += 16)
        {
            for (int i = 0; i < 16; i += TElement.Bytes)
            {
                byte* from = (i < 8 ? left : right) + lane + (i & 7) * 2;
                Put<TElement>(result + lane + i,
                    TOp.Apply<TElement>(op, Get<TElement>(from), Get<TElement>(from + TElement.Bytes), ref status));
            }
        }
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteVector(s, op, result);
        return Status.Next;
    }

    private static bool BindDotProduct<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = &DotProduct<TElement>;
        return Prepare(ref b);
    }

    /// <summary>
    /// DPPS, DPPD: products where the immediate's high half says so (else +0), summed pairwise, delivered where its low half says so. An unmasked
    /// exception of the products stops before the sums, of a sum before the next (SDM DPPS).
    /// </summary>
    private static int DotProduct<TElement>(SoftwareVcpu cpu, CpuState* s, Op* op) where TElement : IElement
    {
        byte* buffer = stackalloc byte[32];
        byte* result = stackalloc byte[32];
        ulong* products = stackalloc ulong[8];
        ulong* sums = stackalloc ulong[4];
        if (!Begin(cpu, s, op))
            return Status.Fault;
        byte* right = Operand(cpu, s, op, buffer);
        if (right == null)
            return Status.Fault;
        byte* left = (byte*)s + op->Src2;
        int bytes = VectorBytes(op), count = 16 / TElement.Bytes;
        uint imm = (uint)op->Imm;
        FloatStatus status = new(s->Mxcsr);
        for (int lane = 0; lane < bytes; lane += 16)
        {
            for (int i = 0; i < count; i++)
            {
                int at = lane + i * TElement.Bytes;
                products[lane / 4 + i] = (imm >> (4 + i) & 1) != 0
                    ? MultiplyOp.Apply<TElement>(op, Get<TElement>(left + at), Get<TElement>(right + at), ref status)
                    : 0;
            }
        }
        if (!Commit(cpu, s, status))
            return Status.Fault;
        for (int lane = 0; lane < bytes; lane += 16)
        {
            ulong* p = products + lane / 4;
            sums[lane / 8] = AddOp.Apply<TElement>(op, p[0], p[1], ref status);
            if (IsSingle<TElement>())
                sums[lane / 8 + 1] = AddOp.Apply<TElement>(op, p[2], p[3], ref status);
        }
        if (!Commit(cpu, s, status))
            return Status.Fault;
        for (int lane = 0; lane < bytes; lane += 16)
        {
            ulong sum = IsSingle<TElement>() ? AddOp.Apply<TElement>(op, sums[lane / 8], sums[lane / 8 + 1], ref status) : sums[lane / 8];
            for (int i = 0; i < count; i++)
                Put<TElement>(result + lane + i * TElement.Bytes, (imm >> i & 1) != 0 ? sum : 0);
        }
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteVector(s, op, result);
        return Status.Next;
    }
}
