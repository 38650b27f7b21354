using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>MUL, IMUL, DIV, IDIV.</summary>
/// <remarks>
/// Multiplications set CF = OF where the upper half matters. The flags that the manuals leave undefined are those of AMD processors:
/// multiplications leave SF, ZF, AF, PF; divisions leave CF and OF, set AF, and clear SF, ZF, PF.
/// A zero divisor or a quotient that does not fit is #DE with nothing changed.
/// </remarks>
public static unsafe class MultiplyDivide
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Mul, &BindMul);
        r.Add(Mnemonic.Imul, &BindImul);
        r.Add(Mnemonic.Div, &BindDiv);
        r.Add(Mnemonic.Idiv, &BindIdiv);
    }

    private static bool BindMul(ref OpBuilder b)
    {
        b.Op->Run = b.OperandSize() switch { 1 => One<W8, Mul8>(ref b), 2 => One<W16, Mul16>(ref b), 4 => One<W32, Mul32>(ref b), _ => One<W64, Mul64>(ref b) };
        return true;
    }

    private static bool BindDiv(ref OpBuilder b)
    {
        b.Op->Run = b.OperandSize() switch { 1 => One<W8, Div8>(ref b), 2 => One<W16, Div16>(ref b), 4 => One<W32, Div32>(ref b), _ => One<W64, Div64>(ref b) };
        return true;
    }

    private static bool BindIdiv(ref OpBuilder b)
    {
        b.Op->Run = b.OperandSize() switch { 1 => One<W8, Idiv8>(ref b), 2 => One<W16, Idiv16>(ref b), 4 => One<W32, Idiv32>(ref b), _ => One<W64, Idiv64>(ref b) };
        return true;
    }

    private static bool BindImul(ref OpBuilder b)
    {
        if (b.Instruction.OpCount == 1)
        {
            b.Op->Run = b.OperandSize() switch { 1 => One<W8, Imul8>(ref b), 2 => One<W16, Imul16>(ref b), 4 => One<W32, Imul32>(ref b), _ => One<W64, Imul64>(ref b) };
            return true;
        }
        b.Op->Run = b.RegisterSize(0) switch { 2 => Many<W16>(ref b), 4 => Many<W32>(ref b), _ => Many<W64>(ref b) };
        return true;
    }

    /// <summary>An operation of the accumulator (and rDX) with one operand.</summary>
    private interface IAccumulate
    {
        static abstract int Run(SoftwareVcpu cpu, CpuState* s, ulong operand);
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> One<TWidth, TOp>(ref OpBuilder b) where TWidth : IWidth where TOp : IAccumulate
    {
        if (b.IsRegister(0))
        {
            b.Op->Src = b.Offset(0);
            return &OneReg<TWidth, TOp>;
        }
        b.Memory();
        return &OneMem<TWidth, TOp>;
    }

    private static int OneReg<TWidth, TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TOp : IAccumulate =>
        TOp.Run(cpu, s, TWidth.Get((byte*)s + op->Src));

    private static int OneMem<TWidth, TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TOp : IAccumulate =>
        General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear)
            && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong operand) ? TOp.Run(cpu, s, operand) : Status.Fault;

    /// <summary>CF = OF, the rest left alone.</summary>
    private static void SetOverflow(CpuState* s, bool overflow) => Flags.SetCarryOverflow(s, overflow ? 1ul << 63 : 0);

    private static int Divided(CpuState* s)
    {
        s->FlagResult = 1;
        s->FlagCarry |= 8;
        s->FlagDelta = 0;
        return Status.Next;
    }

    private static int Products<TWidth>(CpuState* s, ulong low, ulong high, bool overflow) where TWidth : IWidth
    {
        TWidth.SetRegister(&s->Gpr[0], low);
        TWidth.SetRegister(&s->Gpr[2], high);
        SetOverflow(s, overflow);
        return Status.Next;
    }

    private readonly struct Mul8 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            ulong product = (byte)s->Gpr[0] * operand;
            W16.SetRegister(&s->Gpr[0], product);
            bool overflow = product > 0xFF;
            SetOverflow(s, overflow);
            return Status.Next;
        }
    }

    private readonly struct Mul16 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            ulong product = (ushort)s->Gpr[0] * operand;
            return Products<W16>(s, (ushort)product, product >> 16, product > 0xFFFF);
        }
    }

    private readonly struct Mul32 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            ulong product = (uint)s->Gpr[0] * operand;
            return Products<W32>(s, (uint)product, product >> 32, product > 0xFFFF_FFFF);
        }
    }

    private readonly struct Mul64 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            ulong high = Math.BigMul(s->Gpr[0], operand, out ulong low);
            return Products<W64>(s, low, high, high != 0);
        }
    }

    private readonly struct Imul8 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            int product = (sbyte)s->Gpr[0] * (sbyte)operand;
            W16.SetRegister(&s->Gpr[0], (ulong)product);
            bool overflow = product != (sbyte)product;
            SetOverflow(s, overflow);
            return Status.Next;
        }
    }

    private readonly struct Imul16 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            int product = (short)s->Gpr[0] * (short)operand;
            return Products<W16>(s, (ushort)product, (ulong)(product >> 16), product != (short)product);
        }
    }

    private readonly struct Imul32 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            long product = (long)(int)s->Gpr[0] * (int)operand;
            return Products<W32>(s, (uint)product, (ulong)(product >> 32), product != (int)product);
        }
    }

    private readonly struct Imul64 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            long high = Math.BigMul((long)s->Gpr[0], (long)operand, out long low);
            return Products<W64>(s, (ulong)low, (ulong)high, high != low >> 63);
        }
    }

    private readonly struct Div8 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            uint dividend = (ushort)s->Gpr[0], divisor = (byte)operand;
            if (divisor == 0 || dividend / divisor > 0xFF)
                return cpu.Fault(Vector.DivideError);
            W16.SetRegister(&s->Gpr[0], (dividend % divisor << 8) | (dividend / divisor));
            return Divided(s);
        }
    }

    private readonly struct Div16 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            uint dividend = ((uint)(ushort)s->Gpr[2] << 16) | (ushort)s->Gpr[0], divisor = (ushort)operand;
            if (divisor == 0 || dividend / divisor > 0xFFFF)
                return cpu.Fault(Vector.DivideError);
            W16.SetRegister(&s->Gpr[0], dividend / divisor);
            W16.SetRegister(&s->Gpr[2], dividend % divisor);
            return Divided(s);
        }
    }

    private readonly struct Div32 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            ulong dividend = (s->Gpr[2] << 32) | (uint)s->Gpr[0];
            if ((uint)s->Gpr[2] >= operand)
                return cpu.Fault(Vector.DivideError);
            s->Gpr[0] = dividend / operand;
            s->Gpr[2] = dividend % operand;
            return Divided(s);
        }
    }

    private readonly struct Div64 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            ulong high = s->Gpr[2], low = s->Gpr[0];
            if (high >= operand)
                return cpu.Fault(Vector.DivideError);
            s->Gpr[0] = Divide(high, low, operand, out ulong remainder);
            s->Gpr[2] = remainder;
            return Divided(s);
        }
    }

    /// <summary>128 by 64 bits; the quotient fits (high is less than the divisor).</summary>
    private static ulong Divide(ulong high, ulong low, ulong divisor, out ulong remainder)
    {
        if (high == 0)
        {
            remainder = low % divisor;
            return low / divisor;
        }
        (UInt128 quotient, UInt128 rest) = UInt128.DivRem(new UInt128(high, low), divisor);
        remainder = (ulong)rest;
        return (ulong)quotient;
    }

    private readonly struct Idiv8 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            int dividend = (short)s->Gpr[0], divisor = (sbyte)operand;
            if (divisor == 0 || dividend / divisor != (sbyte)(dividend / divisor))
                return cpu.Fault(Vector.DivideError);
            W16.SetRegister(&s->Gpr[0], (ulong)((dividend % divisor << 8) | (byte)(dividend / divisor)));
            return Divided(s);
        }
    }

    private readonly struct Idiv16 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            // In 64 bits, since int.MinValue / -1 overflows in the host's terms too.
            long dividend = (int)(((uint)(ushort)s->Gpr[2] << 16) | (ushort)s->Gpr[0]), divisor = (short)operand;
            if (divisor == 0 || dividend / divisor != (short)(dividend / divisor))
                return cpu.Fault(Vector.DivideError);
            W16.SetRegister(&s->Gpr[0], (ulong)(dividend / divisor));
            W16.SetRegister(&s->Gpr[2], (ulong)(dividend % divisor));
            return Divided(s);
        }
    }

    private readonly struct Idiv32 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            long dividend = (long)((s->Gpr[2] << 32) | (uint)s->Gpr[0]), divisor = (int)operand;
            // long.MinValue / -1 would overflow in the host's terms; its quotient does not fit anyway.
            if (divisor == 0 || (divisor == -1 && dividend == long.MinValue) || dividend / divisor != (int)(dividend / divisor))
                return cpu.Fault(Vector.DivideError);
            s->Gpr[0] = (uint)(dividend / divisor);
            s->Gpr[2] = (uint)(dividend % divisor);
            return Divided(s);
        }
    }

    private readonly struct Idiv64 : IAccumulate
    {
        public static int Run(SoftwareVcpu cpu, CpuState* s, ulong operand)
        {
            ulong high = s->Gpr[2], low = s->Gpr[0];
            bool negativeDividend = (long)high < 0, negative = negativeDividend != (long)operand < 0;
            if (negativeDividend)
            {
                high = ~high + (low == 0 ? 1ul : 0);
                low = 0 - low;
            }
            ulong divisor = (long)operand < 0 ? 0 - operand : operand;
            if (high >= divisor)
                return cpu.Fault(Vector.DivideError);
            ulong quotient = Divide(high, low, divisor, out ulong remainder);
            if (quotient > (negative ? 1ul << 63 : long.MaxValue))
                return cpu.Fault(Vector.DivideError);
            s->Gpr[0] = negative ? 0 - quotient : quotient;
            s->Gpr[2] = negativeDividend ? 0 - remainder : remainder;
            return Divided(s);
        }
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> Many<TWidth>(ref OpBuilder b) where TWidth : IWidth
    {
        b.Op->Dst = b.Offset(0);
        bool three = b.Instruction.OpCount == 3;
        if (three)
            b.Op->Imm = TWidth.SignExtend(b.Immediate(2));
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            return three ? &RegRegImm<TWidth> : &RegReg<TWidth>;
        }
        AddressForm form = b.Memory();
        if (three)
            return form == AddressForm.Flat64 ? &RegMemImm<TWidth, Flat64> : &RegMemImm<TWidth, General>;
        return form == AddressForm.Flat64 ? &RegMem<TWidth, Flat64> : &RegMem<TWidth, General>;
    }

    private static int Multiply<TWidth>(CpuState* s, Op* op, ulong a, ulong b) where TWidth : IWidth
    {
        ulong signed;
        bool overflow;
        if (TWidth.Bits == 64)
        {
            long high = Math.BigMul((long)a, (long)b, out long low);
            signed = (ulong)low;
            overflow = high != low >> 63;
        }
        else
        {
            ulong product = TWidth.SignExtend(a) * TWidth.SignExtend(b);
            signed = TWidth.SignExtend(product);
            overflow = signed != product;
        }
        TWidth.SetRegister((byte*)s + op->Dst, signed);
        SetOverflow(s, overflow);
        return Status.Next;
    }

    private static int RegReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth =>
        Multiply<TWidth>(s, op, TWidth.Get((byte*)s + op->Dst), TWidth.Get((byte*)s + op->Src));

    private static int RegRegImm<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth =>
        Multiply<TWidth>(s, op, TWidth.Get((byte*)s + op->Src), op->Imm);

    private static int RegMem<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong b)
            ? Multiply<TWidth>(s, op, TWidth.Get((byte*)s + op->Dst), b) : Status.Fault;

    private static int RegMemImm<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong a)
            ? Multiply<TWidth>(s, op, a, op->Imm) : Status.Fault;
}
