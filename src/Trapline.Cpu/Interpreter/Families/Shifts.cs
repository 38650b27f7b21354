using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD, by an immediate or by CL.</summary>
/// <remarks>
/// The count is masked to 5 bits, or 6 for 64-bit operands; a masked count of zero changes no flag. A shift is a two-operand operation whose
/// second operand is the masked count. In <see cref="CpuState.FlagCarry"/> bit 63 is CF and bit 62 is CF xor OF, so most shifts store them as a pair.
/// </remarks>
public static unsafe class Shifts
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    private const ulong Top = 1ul << 63;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Rol, &Bind<Rol>);
        r.Add(Mnemonic.Ror, &Bind<Ror>);
        r.Add(Mnemonic.Rcl, &Bind<Rcl>);
        r.Add(Mnemonic.Rcr, &Bind<Rcr>);
        r.Add(Mnemonic.Shl, &Bind<Shl>);
        r.Add(Mnemonic.Sal, &Bind<Shl>);
        r.Add(Mnemonic.Shr, &Bind<Shr>);
        r.Add(Mnemonic.Sar, &Bind<Sar>);
        r.Add(Mnemonic.Shld, &BindDouble<Shld>);
        r.Add(Mnemonic.Shrd, &BindDouble<Shrd>);
    }

    private static bool Bind<TOp>(ref OpBuilder b) where TOp : IBinaryOperation
    {
        b.Op->Run = b.OperandSize() switch
        {
            1 => Form<TOp, W8>(ref b),
            2 => Form<TOp, W16>(ref b),
            4 => Form<TOp, W32>(ref b),
            _ => Form<TOp, W64>(ref b),
        };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> Form<TOp, TWidth>(ref OpBuilder b) where TOp : IBinaryOperation where TWidth : IWidth
    {
        if (b.IsRegister(1))
        {
            if (!b.IsRegister(0))
                return b.Memory() == AddressForm.Flat64 ? &MemCount<TOp, TWidth, Flat64> : &MemCount<TOp, TWidth, General>;
            b.Op->Dst = b.Offset(0);
            return &RegCount<TOp, TWidth>;
        }
        b.Op->Imm = b.Immediate(1) & CountMask<TWidth>();
        return BinaryForms.BindImmediate<TOp, TWidth>(ref b);
    }

    [MethodImpl(Inline)]
    private static ulong CountMask<TWidth>() where TWidth : IWidth => TWidth.Bits == 64 ? 63ul : 31ul;

    [MethodImpl(Inline)]
    private static ulong Count<TWidth>(CpuState* s) where TWidth : IWidth => s->Gpr[1] & CountMask<TWidth>();

    private static int RegCount<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinaryOperation where TWidth : IWidth
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination), count = Count<TWidth>(s);
        ulong r = TOp.Compute<TWidth>(s, a, count);
        TOp.SetFlags<TWidth>(s, a, count, r);
        TWidth.SetRegister(destination, r);
        return Status.Next;
    }

    private static int MemCount<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            && BinaryForms.AtLinear<TOp, TWidth>(cpu, s, op, linear, Count<TWidth>(s), out _) ? Status.Next : Status.Fault;

    /// <summary>AF is undefined by the manuals; AMD processors set it.</summary>
    [MethodImpl(Inline)]
    private static void SetShiftFlags(CpuState* s, ulong signed, bool carry, ulong secondFromTop)
    {
        s->FlagResult = signed;
        s->FlagCarry = (carry ? Top | 8 : 8) | ((secondFromTop & Top) >> 1);
        s->FlagDelta = 0;
    }

    private readonly struct Shl : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a << (int)b);

        /// <summary>OF is the result's sign xor CF (defined for a count of 1).</summary>
        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            if (b == 0)
                return;
            ulong carry = W.Bits == 64 ? a >> (int)(64 - b) : (a << (int)b) >> W.Bits;
            ulong signed = W.SignExtend(r);
            SetShiftFlags(s, signed, (carry & 1) != 0, signed);
        }
    }

    private readonly struct Shr : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a >> (int)b;

        /// <summary>OF is the top bit of the first operand (defined for a count of 1).</summary>
        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            if (b == 0)
                return;
            bool carry = ((a >> (int)(b - 1)) & 1) != 0;
            // CF xor OF: OF is the two top bits of the result xor-ed.
            SetShiftFlags(s, W.SignExtend(r), carry, W.SignExtend(r ^ (r << 1)) ^ (carry ? Top : 0));
        }
    }

    private readonly struct Sar : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate((ulong)((long)W.SignExtend(a) >> (int)b));

        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            if (b == 0)
                return;
            bool carry = (((long)W.SignExtend(a) >> (int)(b - 1)) & 1) != 0;
            SetShiftFlags(s, W.SignExtend(r), carry, carry ? Top : 0);
        }
    }

    /// <summary>The rotates leave ZF, SF, PF and AF. CF is the bit that went around; OF is the change of the top bit.</summary>
    private readonly struct Rol : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }

        [MethodImpl(Inline)]
        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth
        {
            int count = (int)b & (W.Bits - 1);
            return W.Truncate((a << count) | (a >> ((W.Bits - count) & (W.Bits - 1))));
        }

        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            if (b != 0)
                Flags.SetCarryOverflow(s, (r << 63) | ((W.SignExtend(r) & Top) >> 1));
        }
    }

    private readonly struct Ror : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }

        [MethodImpl(Inline)]
        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth
        {
            int count = (int)b & (W.Bits - 1);
            return W.Truncate((a >> count) | (a << ((W.Bits - count) & (W.Bits - 1))));
        }

        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            if (b != 0)
                Flags.SetCarryOverflow(s, r << (64 - W.Bits));
        }
    }

    /// <summary>Rotates through CF take the count modulo width plus 1.</summary>
    private readonly struct Rcl : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }

        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth
        {
            int count = (int)b % (W.Bits + 1);
            if (count == 0)
                return a;
            return W.Truncate((a << count) | (Flags.CarryBit(s) << (count - 1)) | ((a >> 1) >> (W.Bits - count)));
        }

        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            int count = (int)b % (W.Bits + 1);
            if (b == 0)
                return;
            ulong carry = count == 0 ? Flags.CarryBit(s) : a >> (W.Bits - count);
            Flags.SetCarryOverflow(s, (carry << 63) | ((W.SignExtend(r) & Top) >> 1));
        }
    }

    private readonly struct Rcr : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }

        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth
        {
            int count = (int)b % (W.Bits + 1);
            if (count == 0)
                return a;
            return W.Truncate((a >> count) | (Flags.CarryBit(s) << (W.Bits - count)) | ((a << 1) << (W.Bits - count)));
        }

        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            int count = (int)b % (W.Bits + 1);
            if (b == 0)
                return;
            ulong carry = (count == 0 ? Flags.CarryBit(s) : a >> (count - 1)) << 63;
            ulong overflow = W.SignExtend(r ^ (r << 1)) & Top;
            Flags.SetCarryOverflow(s, carry | ((carry ^ overflow) >> 1));
        }
    }

    /// <summary>A shift that fills from a second register.</summary>
    private interface IDoubleShift
    {
        /// <summary>The count is 1 to 63.</summary>
        static abstract ulong Compute<TWidth>(ulong a, ulong fill, int count) where TWidth : IWidth;

        static abstract void SetFlags<TWidth>(CpuState* s, ulong a, ulong fill, int count, ulong r) where TWidth : IWidth;
    }

    /// <summary>16-bit operands with a count above 16 are undefined; here, as on AMD processors, the fill follows itself and CF is 0.</summary>
    private readonly struct Shld : IDoubleShift
    {
        [MethodImpl(Inline)]
        public static ulong Compute<W>(ulong a, ulong fill, int count) where W : IWidth
        {
            if (W.Bits == 16)
                return W.Truncate((((a << 32) | (fill << 16) | fill) << count) >> 32);
            return W.Truncate((a << count) | (fill >> (W.Bits - count)));
        }

        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong fill, int count, ulong r) where W : IWidth
        {
            ulong carry = count > W.Bits ? 0 : a >> (W.Bits - count);
            SetShiftFlags(s, W.SignExtend(r), (carry & 1) != 0, W.SignExtend(a << count));
        }
    }

    private readonly struct Shrd : IDoubleShift
    {
        [MethodImpl(Inline)]
        public static ulong Compute<W>(ulong a, ulong fill, int count) where W : IWidth
        {
            if (W.Bits == 16)
                return W.Truncate(((fill << 32) | (fill << 16) | a) >> count);
            return W.Truncate((a >> count) | (fill << (W.Bits - count)));
        }

        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong fill, int count, ulong r) where W : IWidth
        {
            bool carry = ((a >> (count - 1)) & 1) != 0;
            SetShiftFlags(s, W.SignExtend(r), carry, W.SignExtend(r ^ (r << 1)) ^ (carry ? Top : 0));
        }
    }

    private static bool BindDouble<TOp>(ref OpBuilder b) where TOp : IDoubleShift
    {
        b.Op->Src = b.Offset(1);
        bool byCl = b.IsRegister(2);
        if (!byCl)
            b.Op->Imm = b.Immediate(2);
        b.Op->Run = b.OperandSize() switch
        {
            2 => DoubleForm<TOp, W16>(ref b, byCl),
            4 => DoubleForm<TOp, W32>(ref b, byCl),
            _ => DoubleForm<TOp, W64>(ref b, byCl),
        };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> DoubleForm<TOp, TWidth>(ref OpBuilder b, bool byCl)
        where TOp : IDoubleShift where TWidth : IWidth
    {
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            return byCl ? &DoubleReg<TOp, TWidth, ByCl> : &DoubleReg<TOp, TWidth, ByImmediate>;
        }
        b.Memory();
        return byCl ? &DoubleMem<TOp, TWidth, ByCl> : &DoubleMem<TOp, TWidth, ByImmediate>;
    }

    private interface ICount
    {
        static abstract ulong Get(CpuState* s, Op* op);
    }

    private readonly struct ByCl : ICount
    {
        public static ulong Get(CpuState* s, Op* op) => s->Gpr[1];
    }

    private readonly struct ByImmediate : ICount
    {
        public static ulong Get(CpuState* s, Op* op) => op->Imm;
    }

    private static int DoubleReg<TOp, TWidth, TCount>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IDoubleShift where TWidth : IWidth where TCount : ICount
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination), r = a, fill = TWidth.Get((byte*)s + op->Src);
        int count = (int)(TCount.Get(s, op) & CountMask<TWidth>());
        if (count != 0)
        {
            r = TOp.Compute<TWidth>(a, fill, count);
            TOp.SetFlags<TWidth>(s, a, fill, count, r);
        }
        TWidth.SetRegister(destination, r);
        return Status.Next;
    }

    private static int DoubleMem<TOp, TWidth, TCount>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IDoubleShift where TWidth : IWidth where TCount : ICount
    {
        if (!General.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            || !cpu.LoadForUpdate(linear, TWidth.Bytes, op->Segment, out ulong a))
            return Status.Fault;
        ulong r = a, fill = TWidth.Get((byte*)s + op->Src);
        int count = (int)(TCount.Get(s, op) & CountMask<TWidth>());
        if (count != 0)
            r = TOp.Compute<TWidth>(a, fill, count);
        if (!GuestAccess.Store<TWidth>(cpu, s, op, linear, r))
            return Status.Fault;
        if (count != 0)
            TOp.SetFlags<TWidth>(s, a, fill, count, r);
        return Status.Next;
    }
}
