using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>BMI1 and BMI2: ANDN, BEXTR, BLSI, BLSMSK, BLSR, BZHI, MULX, PDEP, PEXT, RORX, SARX, SHLX, SHRX.</summary>
/// <remarks>All have a register destination, one register or memory operand and, most, another register; MULX alone writes two registers.</remarks>
public static unsafe class Bmi
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Andn, &BindFirstRegister<Andn>);
        r.Add(Mnemonic.Pdep, &BindFirstRegister<Pdep>);
        r.Add(Mnemonic.Pext, &BindFirstRegister<Pext>);
        r.Add(Mnemonic.Mulx, &BindMulx);
        r.Add(Mnemonic.Bextr, &BindLastRegister<Bextr>);
        r.Add(Mnemonic.Bzhi, &BindLastRegister<Bzhi>);
        r.Add(Mnemonic.Sarx, &BindLastRegister<Sarx>);
        r.Add(Mnemonic.Shlx, &BindLastRegister<Shlx>);
        r.Add(Mnemonic.Shrx, &BindLastRegister<Shrx>);
        r.Add(Mnemonic.Rorx, &BindRorx);
        r.Add(Mnemonic.Blsi, &BindOne<Blsi>);
        r.Add(Mnemonic.Blsmsk, &BindOne<Blsmsk>);
        r.Add(Mnemonic.Blsr, &BindOne<Blsr>);
    }

    private interface IBitOperation
    {
        static abstract Feature Feature { get; }

        /// <summary>The result from the r/m operand and the other one, zero-extended; not necessarily truncated.</summary>
        static abstract ulong Compute<TWidth>(CpuState* s, ulong value, ulong other) where TWidth : IWidth;
    }

    /// <summary>SF and ZF from the result, CF as given, OF = 0; AF and PF are undefined.</summary>
    [MethodImpl(Inline)]
    private static ulong WithFlags<TWidth>(CpuState* s, ulong result, bool carry = false) where TWidth : IWidth
    {
        Flags.SetResult(s, TWidth.SignExtend(result), carry, overflow: false);
        return result;
    }

    private readonly struct Andn : IBitOperation
    {
        public static Feature Feature => Feature.Bmi1;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth => WithFlags<W>(s, ~other & value);
    }

    private readonly struct Bextr : IBitOperation
    {
        public static Feature Feature => Feature.Bmi1;

        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth
        {
            int start = (byte)other, length = (byte)(other >> 8);
            ulong r = start >= W.Bits ? 0 : value >> start;
            if (length < 64)
                r &= (1ul << length) - 1;
            // SF, AF and PF are undefined by the manuals; AMD processors clear SF and set AF.
            Flags.SetResult(s, r, carry: false, overflow: false, adjust: true);
            s->FlagDelta = r & (1ul << 63);
            return r;
        }
    }

    private readonly struct Blsi : IBitOperation
    {
        public static Feature Feature => Feature.Bmi1;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth => WithFlags<W>(s, value & (0 - value), value != 0);
    }

    private readonly struct Blsmsk : IBitOperation
    {
        public static Feature Feature => Feature.Bmi1;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth => WithFlags<W>(s, value ^ (value - 1), value == 0);
    }

    private readonly struct Blsr : IBitOperation
    {
        public static Feature Feature => Feature.Bmi1;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth => WithFlags<W>(s, value & (value - 1), value == 0);
    }

    private readonly struct Bzhi : IBitOperation
    {
        public static Feature Feature => Feature.Bmi2;

        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth
        {
            int index = (byte)other;
            bool beyond = index >= W.Bits;
            return WithFlags<W>(s, beyond ? value : value & ((1ul << index) - 1), beyond);
        }
    }

    private readonly struct Pdep : IBitOperation
    {
        public static Feature Feature => Feature.Bmi2;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth =>
            Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitDeposit(other, value) : Deposit(other, value);
    }

    private readonly struct Pext : IBitOperation
    {
        public static Feature Feature => Feature.Bmi2;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth =>
            Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitExtract(other, value) : Extract(other, value);
    }

    /// <summary>PDEP in portable terms: the low bits of the source go, in order, where the mask has ones.</summary>
    internal static ulong Deposit(ulong source, ulong mask)
    {
        ulong result = 0;
        for (; mask != 0; mask &= mask - 1, source >>= 1)
            if ((source & 1) != 0)
                result |= mask & (0 - mask);
        return result;
    }

    /// <summary>PEXT in portable terms: the source's bits where the mask has ones, put together.</summary>
    internal static ulong Extract(ulong source, ulong mask)
    {
        ulong result = 0;
        for (int at = 0; mask != 0; mask &= mask - 1, at++)
            result |= ((source >> BitOperations.TrailingZeroCount(mask)) & 1) << at;
        return result;
    }

    private readonly struct Sarx : IBitOperation
    {
        public static Feature Feature => Feature.Bmi2;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth =>
            (ulong)((long)W.SignExtend(value) >> ((int)other & (W.Bits - 1)));
    }

    private readonly struct Shlx : IBitOperation
    {
        public static Feature Feature => Feature.Bmi2;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth => value << ((int)other & (W.Bits - 1));
    }

    private readonly struct Shrx : IBitOperation
    {
        public static Feature Feature => Feature.Bmi2;
        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth => value >> ((int)other & (W.Bits - 1));
    }

    private readonly struct Rorx : IBitOperation
    {
        public static Feature Feature => Feature.Bmi2;

        public static ulong Compute<W>(CpuState* s, ulong value, ulong other) where W : IWidth
        {
            int count = (int)other & (W.Bits - 1);
            return (value >> count) | (value << ((W.Bits - count) & (W.Bits - 1)));
        }
    }

    private static bool BindFirstRegister<TOp>(ref OpBuilder b) where TOp : IBitOperation
    {
        b.Op->Src2 = b.Offset(1);
        return Bind<TOp>(ref b, 2);
    }

    private static bool BindLastRegister<TOp>(ref OpBuilder b) where TOp : IBitOperation
    {
        b.Op->Src2 = b.Offset(2);
        return Bind<TOp>(ref b, 1);
    }

    private static bool BindOne<TOp>(ref OpBuilder b) where TOp : IBitOperation => Bind<TOp>(ref b, 1);

    private static bool Bind<TOp>(ref OpBuilder b, int operand) where TOp : IBitOperation
    {
        bool wide = b.RegisterSize(0) == 8;
        b.Op->Dst = b.Offset(0);
        if (b.IsRegister(operand))
        {
            b.Op->Src = b.Offset(operand);
            b.Op->Run = wide ? &Reg<W64, TOp> : &Reg<W32, TOp>;
        }
        else
        {
            b.Memory();
            b.Op->Run = wide ? &Mem<W64, TOp> : &Mem<W32, TOp>;
        }
        return b.Model.Has(TOp.Feature);
    }

    private static int Reg<TWidth, TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TOp : IBitOperation
    {
        ulong r = TOp.Compute<TWidth>(s, TWidth.Get((byte*)s + op->Src), TWidth.Get((byte*)s + op->Src2));
        TWidth.SetRegister((byte*)s + op->Dst, r);
        return Status.Next;
    }

    private static int Mem<TWidth, TOp>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TOp : IBitOperation
    {
        if (!General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) || !GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        TWidth.SetRegister((byte*)s + op->Dst, TOp.Compute<TWidth>(s, value, TWidth.Get((byte*)s + op->Src2)));
        return Status.Next;
    }

    private static bool BindRorx(ref OpBuilder b)
    {
        bool wide = b.RegisterSize(0) == 8;
        b.Op->Dst = b.Offset(0);
        b.Op->Imm = b.Immediate(2);
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            b.Op->Run = wide ? &RorxReg<W64> : &RorxReg<W32>;
        }
        else
        {
            b.Memory();
            b.Op->Run = wide ? &RorxMem<W64> : &RorxMem<W32>;
        }
        return b.Model.Has(Feature.Bmi2);
    }

    private static int RorxReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        TWidth.SetRegister((byte*)s + op->Dst, Rorx.Compute<TWidth>(s, TWidth.Get((byte*)s + op->Src), op->Imm));
        return Status.Next;
    }

    private static int RorxMem<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        if (!General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) || !GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        TWidth.SetRegister((byte*)s + op->Dst, Rorx.Compute<TWidth>(s, value, op->Imm));
        return Status.Next;
    }

    private static bool BindMulx(ref OpBuilder b)
    {
        bool wide = b.RegisterSize(0) == 8;
        b.Op->Dst = b.Offset(0);
        b.Op->Src2 = b.Offset(1);
        if (b.IsRegister(2))
        {
            b.Op->Src = b.Offset(2);
            b.Op->Run = wide ? &MulxReg<W64> : &MulxReg<W32>;
        }
        else
        {
            b.Memory();
            b.Op->Run = wide ? &MulxMem<W64> : &MulxMem<W32>;
        }
        return b.Model.Has(Feature.Bmi2);
    }

    private static int MulxReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth =>
        Multiply<TWidth>(s, op, TWidth.Get((byte*)s + op->Src));

    private static int MulxMem<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth =>
        General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value)
            ? Multiply<TWidth>(s, op, value) : Status.Fault;

    /// <summary>rDX times the operand, without flags. If both destinations are one register it gets the high half.</summary>
    private static int Multiply<TWidth>(CpuState* s, Op* op, ulong value) where TWidth : IWidth
    {
        ulong high = Math.BigMul(TWidth.Get(&s->Gpr[2]), value, out ulong low);
        if (TWidth.Bits == 32)
            high = low >> 32;
        TWidth.SetRegister((byte*)s + op->Src2, low);
        TWidth.SetRegister((byte*)s + op->Dst, high);
        return Status.Next;
    }
}
