using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Arithmetic on the register stack: basic, partial remainders, scaling, transcendental (SDM Vol. 1, 8.3.5 to 8.3.7).</summary>
public static unsafe partial class X87
{
    private static void RegisterArithmetic(Binders.Registry r)
    {
        r.Add(Mnemonic.Fadd, &BindArithmetic<AddOp>);
        r.Add(Mnemonic.Faddp, &BindArithmetic<AddOp>);
        r.Add(Mnemonic.Fiadd, &BindArithmetic<AddOp>);
        r.Add(Mnemonic.Fsub, &BindArithmetic<SubtractOp>);
        r.Add(Mnemonic.Fsubp, &BindArithmetic<SubtractOp>);
        r.Add(Mnemonic.Fisub, &BindArithmetic<SubtractOp>);
        r.Add(Mnemonic.Fsubr, &BindArithmetic<SubtractReversedOp>);
        r.Add(Mnemonic.Fsubrp, &BindArithmetic<SubtractReversedOp>);
        r.Add(Mnemonic.Fisubr, &BindArithmetic<SubtractReversedOp>);
        r.Add(Mnemonic.Fmul, &BindArithmetic<MultiplyOp>);
        r.Add(Mnemonic.Fmulp, &BindArithmetic<MultiplyOp>);
        r.Add(Mnemonic.Fimul, &BindArithmetic<MultiplyOp>);
        r.Add(Mnemonic.Fdiv, &BindArithmetic<DivideOp>);
        r.Add(Mnemonic.Fdivp, &BindArithmetic<DivideOp>);
        r.Add(Mnemonic.Fidiv, &BindArithmetic<DivideOp>);
        r.Add(Mnemonic.Fdivr, &BindArithmetic<DivideReversedOp>);
        r.Add(Mnemonic.Fdivrp, &BindArithmetic<DivideReversedOp>);
        r.Add(Mnemonic.Fidivr, &BindArithmetic<DivideReversedOp>);

        r.Add(Mnemonic.Fsqrt, &BindUnary<SquareRootOp>);
        r.Add(Mnemonic.Frndint, &BindUnary<RoundOp>);
        r.Add(Mnemonic.F2xm1, &BindUnary<TwoToXMinus1Op>);
        r.Add(Mnemonic.Fabs, &BindSign);
        r.Add(Mnemonic.Fchs, &BindSign);
        r.Add(Mnemonic.Fscale, &BindScale);
        r.Add(Mnemonic.Fyl2x, &BindPopping<YLog2XOp>);
        r.Add(Mnemonic.Fyl2xp1, &BindPopping<YLog2XPlus1Op>);
        r.Add(Mnemonic.Fpatan, &BindPopping<ArcTangentOp>);
        r.Add(Mnemonic.Fprem, &BindRemainder);
        r.Add(Mnemonic.Fprem1, &BindRemainder);
        r.Add(Mnemonic.Fxtract, &BindExtract);
        r.Add(Mnemonic.Fsin, &BindTrigonometric);
        r.Add(Mnemonic.Fcos, &BindTrigonometric);
        r.Add(Mnemonic.Fsincos, &BindTrigonometric);
        r.Add(Mnemonic.Fptan, &BindTrigonometric);
    }

    /// <summary>Two operands, the destination first.</summary>
    private interface IBinary
    {
        static abstract F80 Apply(F80 a, F80 b, ref FloatStatus status);
    }

    private readonly struct AddOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.Add(a, b, ref status); }
    private readonly struct SubtractOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.Subtract(a, b, ref status); }
    private readonly struct SubtractReversedOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.Subtract(b, a, ref status); }
    private readonly struct MultiplyOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.Multiply(a, b, ref status); }
    private readonly struct DivideOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.Divide(a, b, ref status); }
    private readonly struct DivideReversedOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.Divide(b, a, ref status); }
    private readonly struct YLog2XOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.YLog2X(a, b, ref status); }
    private readonly struct YLog2XPlus1Op : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.YLog2XPlus1(a, b, ref status); }
    private readonly struct ArcTangentOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.ArcTangent(a, b, ref status); }

    private interface IUnary
    {
        static abstract F80 Apply(F80 a, ref FloatStatus status);
    }

    private readonly struct SquareRootOp : IUnary { public static F80 Apply(F80 a, ref FloatStatus status) => F80.SquareRoot(a, ref status); }
    private readonly struct RoundOp : IUnary { public static F80 Apply(F80 a, ref FloatStatus status) => F80.RoundToIntegral(a, ref status); }
    private readonly struct TwoToXMinus1Op : IUnary { public static F80 Apply(F80 a, ref FloatStatus status) => F80.TwoToXMinus1(a, ref status); }

    private static bool BindArithmetic<TOp>(ref OpBuilder b) where TOp : IBinary
    {
        Prepare(ref b);
        if (b.IsMemory(0))
        {
            bool integer = b.Instruction.Mnemonic is Mnemonic.Fiadd or Mnemonic.Fisub or Mnemonic.Fisubr
                or Mnemonic.Fimul or Mnemonic.Fidiv or Mnemonic.Fidivr;
            b.Op->Run = integer ? &ArithmeticInteger<TOp> : b.Op->OperandSize == 4 ? &ArithmeticSingle<TOp> : &ArithmeticDouble<TOp>;
            return true;
        }
        b.Op->Dst = Number(ref b, 0);
        b.Op->Src = Number(ref b, 1);
        bool pops = b.Instruction.Mnemonic is Mnemonic.Faddp or Mnemonic.Fsubp or Mnemonic.Fsubrp
            or Mnemonic.Fmulp or Mnemonic.Fdivp or Mnemonic.Fdivrp;
        b.Op->Run = pops ? &ArithmeticPop<TOp> : &ArithmeticRegister<TOp>;
        return true;
    }

    private static int ArithmeticRegister<TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinary
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        Compute<TOp>(s, op->Dst, op->Src);
        return Status.Next;
    }

    private static int ArithmeticPop<TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinary
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (Compute<TOp>(s, op->Dst, op->Src))
            Pop(s);
        return Status.Next;
    }

    /// <summary>ST(to) = ST(to) op ST(from). False: an unmasked exception left everything alone.</summary>
    private static bool Compute<TOp>(CpuState* s, int to, int from) where TOp : IBinary
    {
        F80 result = F80.DefaultNaN;
        if (IsEmpty(s, to) || IsEmpty(s, from))
        {
            if (!RaiseStackFault(s, overflow: false))
                return false;
        }
        else
        {
            FloatStatus status = NewStatus(s);
            result = TOp.Apply(Get(s, to), Get(s, from), ref status);
            if (!Commit(s, status))
                return false;
        }
        Set(s, to, result);
        return true;
    }

    private static int ArithmeticSingle<TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinary
    {
        if (!BeginLoad(cpu, s, op, 4, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return ArithmeticMemory<TOp>(s, F80.OperandF32((uint)bits, ref status), ref status);
    }

    private static int ArithmeticDouble<TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinary
    {
        if (!BeginLoad(cpu, s, op, 8, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return ArithmeticMemory<TOp>(s, F80.OperandF64(bits, ref status), ref status);
    }

    private static int ArithmeticInteger<TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinary
    {
        if (!BeginLoad(cpu, s, op, op->OperandSize, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return ArithmeticMemory<TOp>(s, F80.FromInt64(Signed(bits, op->OperandSize)), ref status);
    }

    private static int ArithmeticMemory<TOp>(CpuState* s, F80 operand, ref FloatStatus status) where TOp : IBinary
    {
        F80 result = F80.DefaultNaN;
        if (IsEmpty(s, 0))
        {
            if (!RaiseStackFault(s, overflow: false))
                return Status.Next;
        }
        else
        {
            result = TOp.Apply(Get(s, 0), operand, ref status);
            if (!Commit(s, status))
                return Status.Next;
        }
        Set(s, 0, result);
        return Status.Next;
    }

    private static bool BindUnary<TOp>(ref OpBuilder b) where TOp : IUnary
    {
        Prepare(ref b);
        b.Op->Run = &Unary<TOp>;
        return true;
    }

    private static int Unary<TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IUnary
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        F80 result = F80.DefaultNaN;
        if (IsEmpty(s, 0))
        {
            if (!RaiseStackFault(s, overflow: false))
                return Status.Next;
        }
        else
        {
            FloatStatus status = NewStatus(s);
            result = TOp.Apply(Get(s, 0), ref status);
            if (!Commit(s, status))
                return Status.Next;
        }
        Set(s, 0, result);
        return Status.Next;
    }

    private static bool BindSign(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = b.Instruction.Mnemonic == Mnemonic.Fabs ? &AbsoluteValue : &ChangeSign;
        return true;
    }

    private static int AbsoluteValue(SoftwareVcpu cpu, CpuState* s, Op* op) => SetSign(cpu, s, op, change: false);

    private static int ChangeSign(SoftwareVcpu cpu, CpuState* s, Op* op) => SetSign(cpu, s, op, change: true);

    private static int SetSign(SoftwareVcpu cpu, CpuState* s, Op* op, bool change)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (IsEmpty(s, 0))
        {
            if (RaiseStackFault(s, overflow: false))
                Set(s, 0, F80.DefaultNaN);
            return Status.Next;
        }
        s->Fsw &= unchecked((ushort)~C1);
        Set(s, 0, change ? Get(s, 0).Negate() : Get(s, 0).Abs());
        return Status.Next;
    }

    private static bool BindScale(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = &Scale;
        return true;
    }

    private static int Scale(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        Compute<ScaleOp>(s, 0, 1);
        return Status.Next;
    }

    private readonly struct ScaleOp : IBinary { public static F80 Apply(F80 a, F80 b, ref FloatStatus status) => F80.Scale(a, b, ref status); }

    private static bool BindPopping<TOp>(ref OpBuilder b) where TOp : IBinary
    {
        Prepare(ref b);
        b.Op->Run = &Popping<TOp>;
        return true;
    }

    /// <summary>ST(1) = f(ST(0), ST(1)), then pop.</summary>
    private static int Popping<TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinary
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        F80 result = F80.DefaultNaN;
        if (IsEmpty(s, 0) || IsEmpty(s, 1))
        {
            if (!RaiseStackFault(s, overflow: false))
                return Status.Next;
        }
        else
        {
            FloatStatus status = NewStatus(s);
            result = TOp.Apply(Get(s, 0), Get(s, 1), ref status);
            if (!Commit(s, status))
                return Status.Next;
        }
        Set(s, 1, result);
        Pop(s);
        return Status.Next;
    }

    private static bool BindRemainder(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = b.Instruction.Mnemonic == Mnemonic.Fprem ? &Remainder : &RemainderNearest;
        return true;
    }

    private static int Remainder(SoftwareVcpu cpu, CpuState* s, Op* op) => Remainder(cpu, s, op, nearest: false);

    private static int RemainderNearest(SoftwareVcpu cpu, CpuState* s, Op* op) => Remainder(cpu, s, op, nearest: true);

    private static int Remainder(SoftwareVcpu cpu, CpuState* s, Op* op, bool nearest)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (IsEmpty(s, 0) || IsEmpty(s, 1))
        {
            if (RaiseStackFault(s, overflow: false))
                Set(s, 0, F80.DefaultNaN);
            s->Fsw &= unchecked((ushort)~C2);
            return Status.Next;
        }
        FloatStatus status = NewStatus(s);
        F80 result = F80.Remainder(Get(s, 0), Get(s, 1), nearest, out int quotient, out bool incomplete, ref status);
        bool go = Commit(s, status);
        // Without numbers to divide there are no quotient bits, only "nothing more to reduce".
        int changed = !go || result.IsNaN ? C1 | C2 : Conditions;
        s->Fsw = (ushort)((s->Fsw & ~changed)
            | (incomplete ? C2 : 0) | ((quotient & 4) != 0 ? C0 : 0) | ((quotient & 2) != 0 ? C3 : 0) | ((quotient & 1) != 0 ? C1 : 0));
        if (go)
            Set(s, 0, result);
        return Status.Next;
    }

    private static bool BindExtract(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = &Extract;
        return true;
    }

    private static int Extract(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (!BeginPair(s, out bool answered))
            return Status.Next;
        if (answered)
            return Status.Next;
        FloatStatus status = NewStatus(s);
        F80 significand = F80.Extract(Get(s, 0), out F80 exponent, ref status);
        if (!Commit(s, status))
            return Status.Next;
        Set(s, 0, exponent);
        PushAnswer(s, significand);
        return Status.Next;
    }

    /// <summary>
    /// Stack checks of the instructions that replace ST(0) and push: an empty ST(0) is an underflow, a full stack an overflow; masked, both answer
    /// with two indefinites (<paramref name="answered"/>). False: unmasked, stop.
    /// </summary>
    private static bool BeginPair(CpuState* s, out bool answered)
    {
        answered = IsEmpty(s, 0) || !IsEmpty(s, 7);
        if (!answered)
            return true;
        if (!RaiseStackFault(s, overflow: !IsEmpty(s, 0)))
            return false;
        Set(s, 0, F80.DefaultNaN);
        PushAnswer(s, F80.DefaultNaN);
        return true;
    }

    private static bool BindTrigonometric(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Fsin => &Sine,
            Mnemonic.Fcos => &Cosine,
            Mnemonic.Fsincos => &SineCosine,
            _ => &Tangent,
        };
        return true;
    }

    private static int Sine(SoftwareVcpu cpu, CpuState* s, Op* op) => SineOrCosine(cpu, s, op, cosine: false);

    private static int Cosine(SoftwareVcpu cpu, CpuState* s, Op* op) => SineOrCosine(cpu, s, op, cosine: true);

    private static int SineOrCosine(SoftwareVcpu cpu, CpuState* s, Op* op, bool cosine)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (IsEmpty(s, 0))
        {
            if (RaiseStackFault(s, overflow: false))
                Set(s, 0, F80.DefaultNaN);
            return Status.Next;
        }
        FloatStatus status = NewStatus(s);
        bool outOfRange;
        F80 result = cosine ? F80.Cosine(Get(s, 0), out outOfRange, ref status) : F80.Sine(Get(s, 0), out outOfRange, ref status);
        bool go = Commit(s, status);
        SetOutOfRange(s, outOfRange);
        if (go && !outOfRange)
            Set(s, 0, result);
        return Status.Next;
    }

    private static void SetOutOfRange(CpuState* s, bool outOfRange) => s->Fsw = (ushort)((s->Fsw & ~C2) | (outOfRange ? C2 : 0));

    private static int SineCosine(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (!BeginPair(s, out bool answered) || answered)
            return Status.Next;
        FloatStatus status = NewStatus(s);
        F80 sine = F80.SineCosine(Get(s, 0), out F80 cosine, out bool outOfRange, ref status);
        return FinishPair(s, sine, cosine, outOfRange, status);
    }

    private static int Tangent(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (!BeginPair(s, out bool answered) || answered)
            return Status.Next;
        FloatStatus status = NewStatus(s);
        F80 tangent = F80.Tangent(Get(s, 0), out bool outOfRange, ref status);
        return FinishPair(s, tangent, tangent.IsNaN ? tangent : F80.One, outOfRange, status);
    }

    private static int FinishPair(CpuState* s, F80 under, F80 top, bool outOfRange, in FloatStatus status)
    {
        bool go = Commit(s, status);
        SetOutOfRange(s, outOfRange);
        if (go && !outOfRange)
        {
            Set(s, 0, under);
            PushAnswer(s, top);
        }
        return Status.Next;
    }
}
