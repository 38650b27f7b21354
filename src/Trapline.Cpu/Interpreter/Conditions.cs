using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>A condition code as a type argument (SDM Vol. 1, appendix B).</summary>
public unsafe interface ICondition
{
    static abstract bool Test(CpuState* s);
}

/// <summary>The sixteen conditions, named as in Jcc.</summary>
public static unsafe class Condition
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public readonly struct O : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Overflow(s); }
    public readonly struct No : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => !Flags.Overflow(s); }
    public readonly struct B : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Carry(s); }
    public readonly struct Ae : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => !Flags.Carry(s); }
    public readonly struct E : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Zero(s); }
    public readonly struct Ne : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => !Flags.Zero(s); }
    public readonly struct Be : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Carry(s) || Flags.Zero(s); }
    public readonly struct A : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => !(Flags.Carry(s) || Flags.Zero(s)); }
    public readonly struct S : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Sign(s); }
    public readonly struct Ns : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => !Flags.Sign(s); }
    public readonly struct P : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Parity(s); }
    public readonly struct Np : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => !Flags.Parity(s); }
    public readonly struct L : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Sign(s) != Flags.Overflow(s); }
    public readonly struct Ge : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Sign(s) == Flags.Overflow(s); }
    public readonly struct Le : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => Flags.Zero(s) || Flags.Sign(s) != Flags.Overflow(s); }
    public readonly struct G : ICondition { [MethodImpl(Inline)] public static bool Test(CpuState* s) => !Flags.Zero(s) && Flags.Sign(s) == Flags.Overflow(s); }

    /// <summary>Condition <paramref name="code"/> (0 to 15) at run time.</summary>
    public static bool Test(CpuState* s, int code)
    {
        bool holds = (code >> 1) switch
        {
            0 => Flags.Overflow(s),
            1 => Flags.Carry(s),
            2 => Flags.Zero(s),
            3 => Flags.Carry(s) || Flags.Zero(s),
            4 => Flags.Sign(s),
            5 => Flags.Parity(s),
            6 => Flags.Sign(s) != Flags.Overflow(s),
            _ => Flags.Zero(s) || Flags.Sign(s) != Flags.Overflow(s),
        };
        return holds ^ ((code & 1) != 0);
    }
}
