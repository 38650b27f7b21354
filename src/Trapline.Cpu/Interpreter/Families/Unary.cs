using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>INC, DEC, NEG, NOT on registers and memory, with LOCK. They are two-operand operations that ignore the second.</summary>
public static unsafe class Unary
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    private const ulong Top = 1ul << 63;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Inc, &Bind<Inc>);
        r.Add(Mnemonic.Dec, &Bind<Dec>);
        r.Add(Mnemonic.Neg, &Bind<Neg>);
        r.Add(Mnemonic.Not, &Bind<Not>);
    }

    private static bool Bind<TOp>(ref OpBuilder b) where TOp : IBinaryOperation
    {
        b.Op->Run = b.OperandSize() switch
        {
            1 => BinaryForms.BindImmediate<TOp, W8>(ref b),
            2 => BinaryForms.BindImmediate<TOp, W16>(ref b),
            4 => BinaryForms.BindImmediate<TOp, W32>(ref b),
            _ => BinaryForms.BindImmediate<TOp, W64>(ref b),
        };
        return true;
    }

    /// <summary>INC and DEC leave CF; OF is a sign change in the wrong direction, AF a change of bit 4.</summary>
    [MethodImpl(Inline)]
    private static void SetStepFlags(CpuState* s, ulong signed, ulong overflowed, ulong changed)
    {
        ulong carry = s->FlagCarry & Top;
        s->FlagResult = signed;
        s->FlagCarry = carry | ((carry ^ (overflowed & Top)) >> 1) | ((changed >> 1) & 8);
        s->FlagDelta = 0;
    }

    private readonly struct Inc : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)]
        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a + 1);
        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth =>
            SetStepFlags(s, W.SignExtend(r), W.SignExtend(~a & r), a ^ r);
    }

    private readonly struct Dec : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)]
        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a - 1);
        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth =>
            SetStepFlags(s, W.SignExtend(r), W.SignExtend(a & ~r), a ^ r);
    }

    private readonly struct Neg : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)]
        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(0 - a);
        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth =>
            Flags.SetSub(s, 0, a, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Not : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)]
        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(~a);
        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth { }
    }
}
