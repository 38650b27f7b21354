using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Loads, stores, constants, exchanges and conditional moves (SDM Vol. 1, 8.3.3, 8.3.4).</summary>
public static unsafe partial class X87
{
    private static void RegisterMoves(Binders.Registry r)
    {
        r.Add(Mnemonic.Fld, &BindLoad);
        r.Add(Mnemonic.Fild, &BindLoadInteger);
        r.Add(Mnemonic.Fbld, &BindLoadDecimal);
        r.Add(Mnemonic.Fst, &BindStore);
        r.Add(Mnemonic.Fstp, &BindStore);
        r.Add(Mnemonic.Fstpnce, &BindStore);
        r.Add(Mnemonic.Fist, &BindStoreInteger);
        r.Add(Mnemonic.Fistp, &BindStoreInteger);
        r.Add(Mnemonic.Fisttp, &BindStoreInteger);
        r.Add(Mnemonic.Fbstp, &BindStoreDecimal);
        r.Add(Mnemonic.Fxch, &BindExchange);
        r.Add(Mnemonic.Fld1, &BindConstant);
        r.Add(Mnemonic.Fldz, &BindConstant);
        r.Add(Mnemonic.Fldpi, &BindConstant);
        r.Add(Mnemonic.Fldl2e, &BindConstant);
        r.Add(Mnemonic.Fldl2t, &BindConstant);
        r.Add(Mnemonic.Fldlg2, &BindConstant);
        r.Add(Mnemonic.Fldln2, &BindConstant);
        r.Add(Mnemonic.Fcmovb, &BindConditionalMove);
        r.Add(Mnemonic.Fcmove, &BindConditionalMove);
        r.Add(Mnemonic.Fcmovbe, &BindConditionalMove);
        r.Add(Mnemonic.Fcmovu, &BindConditionalMove);
        r.Add(Mnemonic.Fcmovnb, &BindConditionalMove);
        r.Add(Mnemonic.Fcmovne, &BindConditionalMove);
        r.Add(Mnemonic.Fcmovnbe, &BindConditionalMove);
        r.Add(Mnemonic.Fcmovnu, &BindConditionalMove);
    }

    private static bool BindLoad(ref OpBuilder b)
    {
        Prepare(ref b);
        if (b.IsRegister(0))
        {
            b.Op->Src = Number(ref b, 0);
            b.Op->Run = &LoadRegister;
            return true;
        }
        b.Op->Run = b.Op->OperandSize switch { 4 => &LoadSingle, 8 => &LoadDouble, _ => &LoadExtended };
        return true;
    }

    private static int LoadRegister(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        // Of underflow and overflow at once, underflow is reported.
        if (!IsEmpty(s, op->Src))
            Push(s, Get(s, op->Src));
        else if (RaiseStackFault(s, overflow: false))
            PushAnswer(s, F80.DefaultNaN);
        return Status.Next;
    }

    /// <summary>Pushes without clearing C1: the push after an underflow or a rounding.</summary>
    private static void PushAnswer(CpuState* s, F80 value)
    {
        s->FpuTop = (byte)((s->FpuTop - 1) & 7);
        Set(s, 0, value);
    }

    private static int LoadSingle(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad(cpu, s, op, 4, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return FinishLoad(s, F80.FromF32((uint)bits, ref status), status);
    }

    private static int LoadDouble(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad(cpu, s, op, 8, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return FinishLoad(s, F80.FromF64(bits, ref status), status);
    }

    private static int FinishLoad(CpuState* s, F80 value, in FloatStatus status)
    {
        if (!IsEmpty(s, 7))
        {
            Push(s, value);
            return Status.Next;
        }
        // A denormal is loaded even when its exception is unmasked.
        bool stop = (status.Unmasked & FloatExceptions.Invalid) != 0;
        Commit(s, status);
        if (!stop)
            PushAnswer(s, value);
        return Status.Next;
    }

    private static int LoadExtended(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad80(cpu, s, op, out ulong low, out ushort high))
            return Status.Fault;
        Push(s, new F80(high, low));
        return Status.Next;
    }

    private static bool BeginLoad80(SoftwareVcpu cpu, CpuState* s, Op* op, out ulong low, out ushort high)
    {
        low = 0;
        high = 0;
        if (!Begin(cpu, s) || !Load80(cpu, s, op, out low, out high))
            return false;
        NoteMemory(s, op);
        return true;
    }

    private static bool BindLoadInteger(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = &LoadInteger;
        return true;
    }

    private static int LoadInteger(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad(cpu, s, op, op->OperandSize, out ulong bits))
            return Status.Fault;
        Push(s, F80.FromInt64(Signed(bits, op->OperandSize)));
        return Status.Next;
    }

    private static long Signed(ulong bits, int size) => size switch { 2 => (short)bits, 4 => (int)bits, _ => (long)bits };

    private static bool BindLoadDecimal(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = &LoadDecimal;
        return true;
    }

    private static int LoadDecimal(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad80(cpu, s, op, out ulong low, out ushort high))
            return Status.Fault;
        Push(s, F80.FromBcd(low, high));
        return Status.Next;
    }

    /// <summary>Dst is how many times the stack pops.</summary>
    private static bool BindStore(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Dst = b.Instruction.Mnemonic == Mnemonic.Fst ? (ushort)0 : (ushort)1;
        if (b.IsRegister(0))
        {
            b.Op->Src = Number(ref b, 0);
            b.Op->Run = b.Instruction.Mnemonic == Mnemonic.Fstpnce ? &StoreRegisterQuietly : &StoreRegister;
            return true;
        }
        b.Op->Run = b.Op->OperandSize switch { 4 => &StoreSingle, 8 => &StoreDouble, _ => &StoreExtended };
        return true;
    }

    private static int StoreRegister(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        F80 value = F80.DefaultNaN;
        if (!IsEmpty(s, 0))
        {
            value = Get(s, 0);
            s->Fsw &= unchecked((ushort)~C1);
        }
        else if (!RaiseStackFault(s, overflow: false))
        {
            return Status.Next;
        }
        Set(s, op->Src, value);
        if (op->Dst != 0)
            Pop(s);
        return Status.Next;
    }

    /// <summary>FSTPNCE: FSTP ST(i) that reports nothing; an empty ST(0) is popped without being copied.</summary>
    private static int StoreRegisterQuietly(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        s->Fsw &= unchecked((ushort)~C1);
        if (!IsEmpty(s, 0))
            Set(s, op->Src, Get(s, 0));
        Pop(s);
        return Status.Next;
    }

    private static int StoreSingle(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        if (IsEmpty(s, 0))
            return StoreIndefinite(cpu, s, op, F32.DefaultNaN, 0);
        FloatStatus status = NewStatus(s);
        return FinishStore(cpu, s, op, F80.ToF32(Get(s, 0), ref status), 0, status);
    }

    private static int StoreDouble(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        if (IsEmpty(s, 0))
            return StoreIndefinite(cpu, s, op, F64.DefaultNaN, 0);
        FloatStatus status = NewStatus(s);
        return FinishStore(cpu, s, op, F80.ToF64(Get(s, 0), ref status), 0, status);
    }

    private static int StoreExtended(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        if (IsEmpty(s, 0))
            return StoreIndefinite(cpu, s, op, F80.DefaultNaN.Significand, F80.DefaultNaN.SignExponent);
        F80 value = Get(s, 0);
        return FinishStore(cpu, s, op, value.Significand, value.SignExponent, NewStatus(s));
    }

    /// <summary>The masked response to storing an empty register: the format's indefinite. Memory faults come first, the stack fault after.</summary>
    private static int StoreIndefinite(SoftwareVcpu cpu, CpuState* s, Op* op, ulong low, ushort high)
    {
        bool masked = (s->Fcw & (uint)FloatExceptions.Invalid) != 0;
        if (!(masked ? Store(cpu, s, op, op->OperandSize, low, high) : Reachable(cpu, s, op)))
            return Status.Fault;
        NoteMemory(s, op);
        RaiseStackFault(s, overflow: false);
        if (masked && op->Dst != 0)
            Pop(s);
        return Status.Next;
    }

    /// <summary>The store that an unmasked exception prevents still checks its address.</summary>
    private static bool Reachable(SoftwareVcpu cpu, CpuState* s, Op* op) => op->OperandSize == ExtendedSize
        ? Reachable80(cpu, s, op, out _, out _)
        : Address(cpu, s, op, op->OperandSize, write: true, out ulong linear) && cpu.Probe(linear, op->OperandSize, op->Segment, write: true);

    /// <summary>Stores unless an exception other than precision is unmasked; then reports and pops.</summary>
    private static int FinishStore(SoftwareVcpu cpu, CpuState* s, Op* op, ulong low, ushort high, in FloatStatus status)
    {
        bool stored = (status.Unmasked & ~FloatExceptions.Precision) == 0;
        if (!(stored ? Store(cpu, s, op, op->OperandSize, low, high) : Reachable(cpu, s, op)))
            return Status.Fault;
        NoteMemory(s, op);
        Commit(s, status);
        if (stored && op->Dst != 0)
            Pop(s);
        return Status.Next;
    }

    private static bool BindStoreInteger(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Dst = b.Instruction.Mnemonic == Mnemonic.Fist ? (ushort)0 : (ushort)1;
        b.Op->Run = b.Instruction.Mnemonic == Mnemonic.Fisttp ? &StoreTruncated : &StoreInteger;
        return true;
    }

    private static int StoreInteger(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        if (IsEmpty(s, 0))
            return StoreIndefinite(cpu, s, op, 1ul << (8 * op->OperandSize - 1), 0);
        FloatStatus status = NewStatus(s);
        F80 value = Get(s, 0);
        long r = op->OperandSize switch
        {
            2 => F80.ToInt16(value, ref status),
            4 => F80.ToInt32(value, ref status),
            _ => F80.ToInt64(value, ref status),
        };
        return FinishStore(cpu, s, op, (ulong)r, 0, status);
    }

    private static int StoreTruncated(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        if (IsEmpty(s, 0))
            return StoreIndefinite(cpu, s, op, 1ul << (8 * op->OperandSize - 1), 0);
        FloatStatus status = NewStatus(s);
        F80 value = Get(s, 0);
        long r = op->OperandSize switch
        {
            2 => F80.ToInt16Truncated(value, ref status),
            4 => F80.ToInt32Truncated(value, ref status),
            _ => F80.ToInt64Truncated(value, ref status),
        };
        return FinishStore(cpu, s, op, (ulong)r, 0, status);
    }

    private static bool BindStoreDecimal(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Dst = 1;
        b.Op->Run = &StoreDecimal;
        return true;
    }

    private static int StoreDecimal(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        (ulong low, ushort high) = F80.ToBcd(IsEmpty(s, 0) ? F80.DefaultNaN : Get(s, 0), ref status);
        return IsEmpty(s, 0) ? StoreIndefinite(cpu, s, op, low, high) : FinishStore(cpu, s, op, low, high, status);
    }

    private static bool BindExchange(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Src = Number(ref b, 1);
        b.Op->Run = &Exchange;
        return true;
    }

    private static int Exchange(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        bool empty0 = IsEmpty(s, 0), emptyI = IsEmpty(s, op->Src);
        if (empty0 || emptyI)
        {
            if (!RaiseStackFault(s, overflow: false))
                return Status.Next;
        }
        else
        {
            s->Fsw &= unchecked((ushort)~C1);
        }
        F80 top = empty0 ? F80.DefaultNaN : Get(s, 0);
        F80 other = emptyI ? F80.DefaultNaN : Get(s, op->Src);
        Set(s, op->Src, top);
        Set(s, 0, other);
        return Status.Next;
    }

    private static bool BindConstant(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Fld1 => &LoadOne,
            Mnemonic.Fldz => &LoadZero,
            Mnemonic.Fldpi => &LoadPi,
            Mnemonic.Fldl2e => &LoadLog2E,
            Mnemonic.Fldl2t => &LoadLog2Of10,
            Mnemonic.Fldlg2 => &LoadLog10Of2,
            _ => &LoadLn2,
        };
        return true;
    }

    private static int LoadOne(SoftwareVcpu cpu, CpuState* s, Op* op) => Constant(cpu, s, op, 0x3FFF, 1ul << 63, 0, exact: true);

    private static int LoadZero(SoftwareVcpu cpu, CpuState* s, Op* op) => Constant(cpu, s, op, 0, 0, 0, exact: true);

    private static int LoadPi(SoftwareVcpu cpu, CpuState* s, Op* op) => Constant(cpu, s, op, 0x4000, 0xC90FDAA22168C234, 1, exact: false);

    private static int LoadLog2E(SoftwareVcpu cpu, CpuState* s, Op* op) => Constant(cpu, s, op, 0x3FFF, 0xB8AA3B295C17F0BB, 1, exact: false);

    private static int LoadLog2Of10(SoftwareVcpu cpu, CpuState* s, Op* op) => Constant(cpu, s, op, 0x4000, 0xD49A784BCD1B8AFE, 0, exact: false);

    private static int LoadLog10Of2(SoftwareVcpu cpu, CpuState* s, Op* op) => Constant(cpu, s, op, 0x3FFD, 0x9A209A84FBCFF798, 1, exact: false);

    private static int LoadLn2(SoftwareVcpu cpu, CpuState* s, Op* op) => Constant(cpu, s, op, 0x3FFE, 0xB17217F7D1CF79AB, 1, exact: false);

    /// <summary>The constants are rounded from longer ones as the control word says, silently (SDM Vol. 1, 8.3.8): truncated and the next bit are given.</summary>
    private static int Constant(SoftwareVcpu cpu, CpuState* s, Op* op, ushort exponent, ulong truncated, uint nextBit, bool exact)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (!exact)
        {
            truncated += NewStatus(s).Rounding switch
            {
                RoundingMode.Nearest => nextBit,
                RoundingMode.Up => 1,
                _ => 0,
            };
        }
        Push(s, new F80(exponent, truncated));
        return Status.Next;
    }

    private static bool BindConditionalMove(ref OpBuilder b)
    {
        if (!b.Model.Has(X86.Feature.Cmov))
            return false;
        Prepare(ref b);
        b.Op->Src = Number(ref b, 1);
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Fcmovb => &MoveIf<Below>,
            Mnemonic.Fcmove => &MoveIf<Equal>,
            Mnemonic.Fcmovbe => &MoveIf<BelowOrEqual>,
            Mnemonic.Fcmovu => &MoveIf<Unordered>,
            Mnemonic.Fcmovnb => &MoveIf<NotBelow>,
            Mnemonic.Fcmovne => &MoveIf<NotEqual>,
            Mnemonic.Fcmovnbe => &MoveIf<NotBelowOrEqual>,
            _ => &MoveIf<NotUnordered>,
        };
        return true;
    }

    private interface IMoveCondition
    {
        static abstract bool Holds(CpuState* s);
    }

    private readonly struct Below : IMoveCondition { public static bool Holds(CpuState* s) => Flags.Carry(s); }
    private readonly struct Equal : IMoveCondition { public static bool Holds(CpuState* s) => Flags.Zero(s); }
    private readonly struct BelowOrEqual : IMoveCondition { public static bool Holds(CpuState* s) => Flags.Carry(s) || Flags.Zero(s); }
    private readonly struct Unordered : IMoveCondition { public static bool Holds(CpuState* s) => Flags.Parity(s); }
    private readonly struct NotBelow : IMoveCondition { public static bool Holds(CpuState* s) => !Flags.Carry(s); }
    private readonly struct NotEqual : IMoveCondition { public static bool Holds(CpuState* s) => !Flags.Zero(s); }
    private readonly struct NotBelowOrEqual : IMoveCondition { public static bool Holds(CpuState* s) => !Flags.Carry(s) && !Flags.Zero(s); }
    private readonly struct NotUnordered : IMoveCondition { public static bool Holds(CpuState* s) => !Flags.Parity(s); }

    private static int MoveIf<TCondition>(SoftwareVcpu cpu, CpuState* s, Op* op) where TCondition : IMoveCondition
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (IsEmpty(s, 0) || IsEmpty(s, op->Src))
        {
            // Whether the condition holds or not.
            if (RaiseStackFault(s, overflow: false))
                Set(s, 0, F80.DefaultNaN);
            return Status.Next;
        }
        if (TCondition.Holds(s))
            Set(s, 0, Get(s, op->Src));
        return Status.Next;
    }
}
