using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>BT, BTS, BTR, BTC; BSF, BSR, TZCNT, LZCNT, POPCNT.</summary>
/// <remarks>
/// A bit test is a two-operand operation whose second operand is the bit as a mask. With a bit number in a register, memory is a bit string:
/// the number is signed and reaches beyond the operand. Only CF changes (the manuals leave OF, SF, AF, PF undefined).
/// </remarks>
public static unsafe class Bits
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Bt, &BindTest<Bt>);
        r.Add(Mnemonic.Bts, &BindTest<Bts>);
        r.Add(Mnemonic.Btr, &BindTest<Btr>);
        r.Add(Mnemonic.Btc, &BindTest<Btc>);
        r.Add(Mnemonic.Bsf, &BindScan<Bsf>);
        r.Add(Mnemonic.Bsr, &BindScan<Bsr>);
        r.Add(Mnemonic.Tzcnt, &BindTrailing);
        r.Add(Mnemonic.Lzcnt, &BindLeading);
        r.Add(Mnemonic.Popcnt, &BindPopulation);
    }

    private readonly struct Bt : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => false; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetCarry(s, (a & b) != 0);
    }

    private readonly struct Bts : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a | b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetCarry(s, (a & b) != 0);
    }

    private readonly struct Btr : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a & ~b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetCarry(s, (a & b) != 0);
    }

    private readonly struct Btc : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a ^ b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetCarry(s, (a & b) != 0);
    }

    private static bool BindTest<TOp>(ref OpBuilder b) where TOp : IBinaryOperation
    {
        b.Op->Run = b.OperandSize() switch { 2 => TestForm<TOp, W16>(ref b), 4 => TestForm<TOp, W32>(ref b), _ => TestForm<TOp, W64>(ref b) };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> TestForm<TOp, TWidth>(ref OpBuilder b) where TOp : IBinaryOperation where TWidth : IWidth
    {
        if (!b.IsRegister(1))
        {
            b.Op->Imm = 1ul << (int)(b.Immediate(1) & (ulong)(TWidth.Bits - 1));
            return BinaryForms.BindImmediate<TOp, TWidth>(ref b);
        }
        b.Op->Src = b.Offset(1);
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            return &TestReg<TOp, TWidth>;
        }
        return b.Memory() == AddressForm.Flat64 ? &TestString<TOp, TWidth, Flat64> : &TestString<TOp, TWidth, General>;
    }

    private static int TestReg<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinaryOperation where TWidth : IWidth
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination);
        ulong mask = 1ul << (int)(*((byte*)s + op->Src) & (TWidth.Bits - 1));
        TOp.SetFlags<TWidth>(s, a, mask, a);
        if (TOp.Writes)
            TWidth.SetRegister(destination, TOp.Compute<TWidth>(s, a, mask));
        return Status.Next;
    }

    private static int TestString<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress
    {
        long bit = (long)TWidth.SignExtend(TWidth.Get((byte*)s + op->Src));
        ulong delta = (ulong)((bit >> BitOperations.Log2((uint)TWidth.Bits)) * TWidth.Bytes);
        ulong mask = 1ul << ((int)bit & (TWidth.Bits - 1));
        return TAddress.LinearAt(cpu, s, op, delta, TWidth.Bytes, TOp.Writes, out ulong linear)
            && BinaryForms.AtLinear<TOp, TWidth>(cpu, s, op, linear, mask, out _) ? Status.Next : Status.Fault;
    }

    /// <summary>A register made from one operand, with flags.</summary>
    private interface IScan
    {
        static abstract int Run<TWidth>(CpuState* s, byte* destination, ulong value) where TWidth : IWidth;
    }

    private static bool BindTrailing(ref OpBuilder b) => b.Model.Has(Feature.Bmi1) ? BindScan<Tzcnt>(ref b) : BindScan<Bsf>(ref b);

    private static bool BindLeading(ref OpBuilder b) => b.Model.Has(Feature.Lzcnt) ? BindScan<Lzcnt>(ref b) : BindScan<Bsr>(ref b);

    private static bool BindPopulation(ref OpBuilder b) => b.Model.Has(Feature.Popcnt) && BindScan<Popcnt>(ref b);

    private static bool BindScan<TOp>(ref OpBuilder b) where TOp : IScan
    {
        b.Op->Run = b.RegisterSize(0) switch { 2 => ScanForm<TOp, W16>(ref b), 4 => ScanForm<TOp, W32>(ref b), _ => ScanForm<TOp, W64>(ref b) };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> ScanForm<TOp, TWidth>(ref OpBuilder b) where TOp : IScan where TWidth : IWidth
    {
        b.Op->Dst = b.Offset(0);
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            return &ScanReg<TOp, TWidth>;
        }
        b.Memory();
        return &ScanMem<TOp, TWidth>;
    }

    private static int ScanReg<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IScan where TWidth : IWidth =>
        TOp.Run<TWidth>(s, (byte*)s + op->Dst, TWidth.Get((byte*)s + op->Src));

    private static int ScanMem<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IScan where TWidth : IWidth =>
        General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value)
            ? TOp.Run<TWidth>(s, (byte*)s + op->Dst, value) : Status.Fault;

    /// <summary>BSF and BSR of zero set ZF and leave the destination as it was.</summary>
    private readonly struct Bsf : IScan
    {
        public static int Run<W>(CpuState* s, byte* destination, ulong value) where W : IWidth
        {
            Flags.SetZero(s, value == 0);
            if (value != 0)
                W.SetRegister(destination, (ulong)BitOperations.TrailingZeroCount(value));
            return Status.Next;
        }
    }

    private readonly struct Bsr : IScan
    {
        public static int Run<W>(CpuState* s, byte* destination, ulong value) where W : IWidth
        {
            Flags.SetZero(s, value == 0);
            if (value != 0)
                W.SetRegister(destination, (ulong)BitOperations.Log2(value));
            return Status.Next;
        }
    }

    /// <summary>ZF and CF; SF, AF and PF, undefined by the manuals, are cleared and OF is left, as on AMD processors.</summary>
    [MethodImpl(Inline)]
    private static void SetCountFlags(CpuState* s, ulong count, bool carry)
    {
        Flags.SetCarry(s, carry);
        s->FlagCarry &= ~8ul;
        s->FlagResult = count == 0 ? 0ul : 1;
        s->FlagDelta = s->FlagResult ^ 1;
    }

    private readonly struct Tzcnt : IScan
    {
        public static int Run<W>(CpuState* s, byte* destination, ulong value) where W : IWidth
        {
            ulong count = value == 0 ? (ulong)W.Bits : (ulong)BitOperations.TrailingZeroCount(value);
            W.SetRegister(destination, count);
            SetCountFlags(s, count, value == 0);
            return Status.Next;
        }
    }

    private readonly struct Lzcnt : IScan
    {
        public static int Run<W>(CpuState* s, byte* destination, ulong value) where W : IWidth
        {
            ulong count = (ulong)(BitOperations.LeadingZeroCount(value) - (64 - W.Bits));
            W.SetRegister(destination, count);
            SetCountFlags(s, count, value == 0);
            return Status.Next;
        }
    }

    private readonly struct Popcnt : IScan
    {
        public static int Run<W>(CpuState* s, byte* destination, ulong value) where W : IWidth
        {
            ulong count = (ulong)BitOperations.PopCount(value);
            W.SetRegister(destination, count);
            Flags.SetArithmetic(s, count == 0 ? Rflags.Zf : 0);
            return Status.Next;
        }
    }
}
