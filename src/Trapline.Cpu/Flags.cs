using System.Numerics;
using System.Runtime.CompilerServices;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>The lazy arithmetic flags of <see cref="CpuState"/>: reading them, setting them, and how each kind of operation stores them.</summary>
public static unsafe class Flags
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    [MethodImpl(Inline)] public static bool Carry(CpuState* s) => (long)s->FlagCarry < 0;
    [MethodImpl(Inline)] public static ulong CarryBit(CpuState* s) => s->FlagCarry >> 63;
    [MethodImpl(Inline)] public static bool Zero(CpuState* s) => s->FlagResult == 0;
    [MethodImpl(Inline)] public static bool Sign(CpuState* s) => (long)(s->FlagResult ^ s->FlagDelta) < 0;
    [MethodImpl(Inline)] public static bool Overflow(CpuState* s) => (long)(s->FlagCarry ^ (s->FlagCarry << 1)) < 0;
    [MethodImpl(Inline)] public static bool Adjust(CpuState* s) => (s->FlagCarry & 8) != 0;
    [MethodImpl(Inline)] public static bool Parity(CpuState* s) => (BitOperations.PopCount((byte)(s->FlagResult ^ s->FlagDelta)) & 1) == 0;

    /// <summary>The six arithmetic flags in their RFLAGS places.</summary>
    public static ulong Arithmetic(CpuState* s)
    {
        ulong flags = s->FlagCarry >> 63;
        if (Parity(s)) flags |= Rflags.Pf;
        if (Adjust(s)) flags |= Rflags.Af;
        if (Zero(s)) flags |= Rflags.Zf;
        if (Sign(s)) flags |= Rflags.Sf;
        if (Overflow(s)) flags |= Rflags.Of;
        return flags;
    }

    /// <summary>The whole RFLAGS register.</summary>
    public static ulong Get(CpuState* s) => s->RFlags | Arithmetic(s);

    /// <summary>Sets the arithmetic flags from their RFLAGS places; other bits of <paramref name="flags"/> are ignored.</summary>
    public static void SetArithmetic(CpuState* s, ulong flags)
    {
        ulong cf = flags & 1;
        ulong of = (flags >> 11) & 1;
        s->FlagCarry = (cf << 63) | ((cf ^ of) << 62) | ((flags & Rflags.Af) >> 1);
        ulong zero = (flags >> 6) & 1;
        ulong result = zero ^ 1;
        // Low byte of result^delta: 0 has even parity, 1 odd.
        ulong wantedParityByte = ((flags >> 2) & 1) ^ 1;
        s->FlagResult = result;
        s->FlagDelta = (result ^ wantedParityByte) | (((flags >> 7) & 1) << 63);
    }

    /// <summary>Sets every bit of RFLAGS without any check: privilege and reserved bits are the caller's business.</summary>
    public static void Set(CpuState* s, ulong flags)
    {
        SetArithmetic(s, flags);
        s->RFlags = (flags & Rflags.Defined & ~Rflags.Arithmetic) | Rflags.Fixed;
    }

    /// <summary>Changes CF alone.</summary>
    public static void SetCarry(CpuState* s, bool carry)
    {
        ulong overflow = s->FlagCarry ^ (s->FlagCarry << 1); // bit 63 = OF
        ulong cf = carry ? 1ul << 63 : 0;
        s->FlagCarry = (s->FlagCarry & 8) | cf | ((cf ^ (overflow & (1ul << 63))) >> 1);
    }

    /// <summary>Changes OF alone.</summary>
    public static void SetOverflow(CpuState* s, bool overflow)
    {
        ulong cf = s->FlagCarry & (1ul << 63);
        s->FlagCarry = (s->FlagCarry & 8) | cf | ((cf >> 1) ^ (overflow ? 1ul << 62 : 0));
    }

    /// <summary>Changes CF and OF alone: the top bit of <paramref name="pair"/> is CF, the next is CF xor OF.</summary>
    [MethodImpl(Inline)]
    public static void SetCarryOverflow(CpuState* s, ulong pair) => s->FlagCarry = (s->FlagCarry & 8) | (pair & (3ul << 62));

    /// <summary>Changes ZF alone.</summary>
    public static void SetZero(CpuState* s, bool zero)
    {
        if (zero != (s->FlagResult == 0))
            SetArithmetic(s, Arithmetic(s) ^ Rflags.Zf);
    }

    /// <summary>After AND, OR, XOR, TEST: CF = OF = AF = 0. <paramref name="result"/> is sign-extended.</summary>
    [MethodImpl(Inline)]
    public static void SetLogic(CpuState* s, ulong result)
    {
        s->FlagResult = result;
        s->FlagCarry = 0;
        s->FlagDelta = 0;
    }

    /// <summary>After a + b (+ carry) = r of a width of <paramref name="bits"/>; operands zero-extended, r truncated; signed is r sign-extended.</summary>
    [MethodImpl(Inline)]
    public static void SetAdd(CpuState* s, ulong a, ulong b, ulong r, ulong signed, int bits)
    {
        ulong carries = (a & b) | ((a | b) & ~r);
        s->FlagResult = signed;
        s->FlagCarry = bits == 64 ? carries : (carries & 8) | (carries << (64 - bits));
        s->FlagDelta = 0;
    }

    /// <summary>After a - b (- borrow) = r.</summary>
    [MethodImpl(Inline)]
    public static void SetSub(CpuState* s, ulong a, ulong b, ulong r, ulong signed, int bits)
    {
        ulong borrows = (~a & b) | ((~a | b) & r);
        s->FlagResult = signed;
        s->FlagCarry = bits == 64 ? borrows : (borrows & 8) | (borrows << (64 - bits));
        s->FlagDelta = 0;
    }

    /// <summary>Result flags from a result and explicit CF, OF, AF (shifts, multiplication).</summary>
    [MethodImpl(Inline)]
    public static void SetResult(CpuState* s, ulong signed, bool carry, bool overflow, bool adjust = false)
    {
        ulong cf = carry ? 1ul : 0, of = overflow ? 1ul : 0;
        s->FlagResult = signed;
        s->FlagCarry = (cf << 63) | ((cf ^ of) << 62) | (adjust ? 8ul : 0);
        s->FlagDelta = 0;
    }
}
