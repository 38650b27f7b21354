using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST in every form: register, memory and immediate operands, with LOCK.</summary>
public static unsafe class Arithmetic
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Add, &Bind<Add>);
        r.Add(Mnemonic.Or, &Bind<Or>);
        r.Add(Mnemonic.Adc, &Bind<Adc>);
        r.Add(Mnemonic.Sbb, &Bind<Sbb>);
        r.Add(Mnemonic.And, &Bind<And>);
        r.Add(Mnemonic.Sub, &Bind<Sub>);
        r.Add(Mnemonic.Xor, &Bind<Xor>);
        r.Add(Mnemonic.Cmp, &Bind<Cmp>);
        r.Add(Mnemonic.Test, &Bind<Test>);
    }

    private readonly struct Add : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a + b);
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetAdd(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Adc : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a + b + Flags.CarryBit(s));
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetAdd(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Sub : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a - b);
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetSub(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Sbb : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a - b - Flags.CarryBit(s));
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetSub(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Cmp : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => false; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a - b);
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetSub(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct And : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a & b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private readonly struct Or : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a | b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private readonly struct Xor : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a ^ b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private readonly struct Test : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => false; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a & b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private static bool Bind<TOp>(ref OpBuilder b) where TOp : IBinaryOperation
    {
        b.Op->Run = b.OperandSize() switch
        {
            1 => BinaryForms.Bind<TOp, W8>(ref b),
            2 => BinaryForms.Bind<TOp, W16>(ref b),
            4 => BinaryForms.Bind<TOp, W32>(ref b),
            _ => BinaryForms.Bind<TOp, W64>(ref b),
        };
        return true;
    }
}
