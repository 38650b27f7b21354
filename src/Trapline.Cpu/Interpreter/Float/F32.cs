using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter.Float;

/// <summary>
/// SSE and AVX arithmetic on one single-precision element, given and returned as bits. Each method is a short front door that
/// uses the host's own arithmetic when that provably gives the same bits and no new flag, and else calls
/// <see cref="Binary{T}"/>.
/// </summary>
/// <remarks>
/// The front door asks: round to nearest, the precision flag already set and masked (so that an inexact result changes
/// nothing), operands zero or normal, result normal and not the smallest one (which underflow detection looks at) or a
/// zero that needs no rounding. IEEE 754 leaves one possible answer then, on every host.
/// </remarks>
public static class F32
{
    public const uint SignBit = 0x80000000;
    public const uint DefaultNaN = 0xFFC00000;
    private const uint Infinity = 0x7F800000;
    /// <summary>Below these magnitudes conversion to integers cannot overflow.</summary>
    private const float Int32Limit = 2147483648.0f;
    private const float Int64Limit = 9223372036854775808.0f;

    private const uint Smallest = 0x00800000;

    /// <summary>The result is a normal number above the smallest: its exponent field is neither 0, 1 nor all ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsPlain(uint a) => (a & ~SignBit) - 2 * Smallest < Infinity - 2 * Smallest;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsNormal(uint a) => (a & ~SignBit) - Smallest < Infinity - Smallest;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsZero(uint a) => (a & ~SignBit) == 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsNormalOrZero(uint a) => IsNormal(a) || IsZero(a);

    /// <summary>Round to nearest, and an inexact result would change nothing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsQuiet(in FloatStatus status) =>
        (status.Control & (FloatStatus.RoundingBits | FloatStatus.PrecisionMaskBit | (uint)FloatExceptions.Precision))
        == (FloatStatus.PrecisionMaskBit | (uint)FloatExceptions.Precision);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Add(uint a, uint b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            uint r = BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(a) + BitConverter.UInt32BitsToSingle(b));
            if (IsPlain(r))
                return r;
        }
        return AddSoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Subtract(uint a, uint b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            uint r = BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(a) - BitConverter.UInt32BitsToSingle(b));
            if (IsPlain(r))
                return r;
        }
        return SubtractSoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Multiply(uint a, uint b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            uint r = BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(a) * BitConverter.UInt32BitsToSingle(b));
            if (IsPlain(r) || IsZero(a) || IsZero(b))
                return r;
        }
        return MultiplySoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Divide(uint a, uint b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormal(b))
        {
            uint r = BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(a) / BitConverter.UInt32BitsToSingle(b));
            if (IsPlain(r) || IsZero(a))
                return r;
        }
        return DivideSoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint SquareRoot(uint a, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormal(a) && (a & SignBit) == 0)
            return BitConverter.SingleToUInt32Bits(MathF.Sqrt(BitConverter.UInt32BitsToSingle(a)));
        return SquareRootSoft(a, ref status);
    }

    /// <summary>±(a * b) ± c, rounded once; NaNs take precedence in the order a, b, c.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint MultiplyAdd(uint a, uint b, uint c, bool negateProduct, bool negateAddend, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormal(a) && IsNormal(b) && IsNormal(c))
        {
            uint r = BitConverter.SingleToUInt32Bits(MathF.FusedMultiplyAdd(
                BitConverter.UInt32BitsToSingle(negateProduct ? a ^ SignBit : a), BitConverter.UInt32BitsToSingle(b), BitConverter.UInt32BitsToSingle(negateAddend ? c ^ SignBit : c)));
            if (IsPlain(r))
                return r;
        }
        return MultiplyAddSoft(a, b, c, negateProduct, negateAddend, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Min(uint a, uint b, ref FloatStatus status)
    {
        if (IsNormalOrZero(a) && IsNormalOrZero(b))
            return BitConverter.UInt32BitsToSingle(a) < BitConverter.UInt32BitsToSingle(b) ? a : b;
        return (uint)Binary<Single32>.MinMax(a, b, false, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Max(uint a, uint b, ref FloatStatus status)
    {
        if (IsNormalOrZero(a) && IsNormalOrZero(b))
            return BitConverter.UInt32BitsToSingle(a) > BitConverter.UInt32BitsToSingle(b) ? a : b;
        return (uint)Binary<Single32>.MinMax(a, b, true, ref status);
    }

    /// <summary>Compares; <paramref name="signalQuiet"/> makes a quiet NaN invalid (COMIS, the signaling predicates).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation Compare(uint a, uint b, bool signalQuiet, ref FloatStatus status)
    {
        if (IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            float x = BitConverter.UInt32BitsToSingle(a), y = BitConverter.UInt32BitsToSingle(b);
            return x < y ? FloatRelation.Less : x > y ? FloatRelation.Greater : FloatRelation.Equal;
        }
        return Binary<Single32>.Compare(a, b, signalQuiet, ref status);
    }

    /// <summary>One of the 32 predicates of CMPPS and VCMPPS: true or false for the element.</summary>
    public static bool ComparePredicate(uint a, uint b, int predicate, ref FloatStatus status) =>
        FloatPredicate.Holds(predicate, Compare(a, b, FloatPredicate.IsSignaling(predicate), ref status));

    /// <summary>ROUNDSS, ROUNDSD: <paramref name="control"/> is the instruction's immediate.</summary>
    public static uint RoundToIntegral(uint a, byte control, ref FloatStatus status)
    {
        if (!IsNormalOrZero(a))
            return (uint)Binary<Single32>.RoundToIntegral(a, control, ref status);
        float x = BitConverter.UInt32BitsToSingle(a);
        float r = Integral(x, (control & 4) != 0 ? status.Rounding : (RoundingMode)(control & 3u));
        if (r != x && (control & 8) == 0)
            status.Raise(FloatExceptions.Precision);
        return BitConverter.SingleToUInt32Bits(r);
    }

    private static float Integral(float x, RoundingMode rounding) => rounding switch
    {
        RoundingMode.Nearest => MathF.Round(x, MidpointRounding.ToEven),
        RoundingMode.Down => MathF.Floor(x),
        RoundingMode.Up => MathF.Ceiling(x),
        _ => MathF.Truncate(x),
    };

    /// <summary>To int32, rounded as MXCSR says.</summary>
    public static int ToInt32(uint a, ref FloatStatus status)
    {
        float x = BitConverter.UInt32BitsToSingle(a);
        if (IsNormalOrZero(a) && MathF.Abs(x) < Int32Limit)
        {
            float r = Integral(x, status.Rounding);
            if (MathF.Abs(r) < Int32Limit)
            {
                if (r != x)
                    status.Raise(FloatExceptions.Precision);
                return (int)r;
            }
        }
        return (int)Binary<Single32>.ToSigned(a, 32, status.Rounding, ref status);
    }

    /// <summary>To int64, rounded as MXCSR says.</summary>
    public static long ToInt64(uint a, ref FloatStatus status)
    {
        float x = BitConverter.UInt32BitsToSingle(a);
        if (IsNormalOrZero(a) && MathF.Abs(x) < Int64Limit)
        {
            float r = Integral(x, status.Rounding);
            if (MathF.Abs(r) < Int64Limit)
            {
                if (r != x)
                    status.Raise(FloatExceptions.Precision);
                return (long)r;
            }
        }
        return Binary<Single32>.ToSigned(a, 64, status.Rounding, ref status);
    }

    public static uint ToUInt32(uint a, ref FloatStatus status) => (uint)Binary<Single32>.ToUnsigned(a, 32, status.Rounding, ref status);

    public static ulong ToUInt64(uint a, ref FloatStatus status) => Binary<Single32>.ToUnsigned(a, 64, status.Rounding, ref status);

    public static int ToInt32Truncated(uint a, ref FloatStatus status)
    {
        float x = BitConverter.UInt32BitsToSingle(a);
        if (IsNormalOrZero(a) && MathF.Abs(x) < Int32Limit)
        {
            var r = (int)x;
            if (r != x)
                status.Raise(FloatExceptions.Precision);
            return r;
        }
        return (int)Binary<Single32>.ToSigned(a, 32, RoundingMode.TowardZero, ref status);
    }

    public static long ToInt64Truncated(uint a, ref FloatStatus status)
    {
        float x = BitConverter.UInt32BitsToSingle(a);
        if (IsNormalOrZero(a) && MathF.Abs(x) < Int64Limit)
        {
            var r = (long)x;
            if (r != x)
                status.Raise(FloatExceptions.Precision);
            return r;
        }
        return Binary<Single32>.ToSigned(a, 64, RoundingMode.TowardZero, ref status);
    }

    public static uint ToUInt32Truncated(uint a, ref FloatStatus status) =>
        (uint)Binary<Single32>.ToUnsigned(a, 32, RoundingMode.TowardZero, ref status);

    public static ulong ToUInt64Truncated(uint a, ref FloatStatus status) =>
        Binary<Single32>.ToUnsigned(a, 64, RoundingMode.TowardZero, ref status);

    public static uint FromInt32(int value, ref FloatStatus status) => value is >= -(1 << 24) and <= 1 << 24
        ? BitConverter.SingleToUInt32Bits(value)
        : (uint)Binary<Single32>.FromSigned(value, ref status);

    public static uint FromInt64(long value, ref FloatStatus status) => (uint)Binary<Single32>.FromSigned(value, ref status);

    public static uint FromUInt32(uint value, ref FloatStatus status) => (uint)Binary<Single32>.FromUnsigned(value, ref status);

    public static uint FromUInt64(ulong value, ref FloatStatus status) => (uint)Binary<Single32>.FromUnsigned(value, ref status);

    /// <summary>CVTSS2SD: exact; a denormal operand is reported.</summary>
    public static ulong ToF64(uint a, ref FloatStatus status) => IsNormalOrZero(a)
        ? BitConverter.DoubleToUInt64Bits(BitConverter.UInt32BitsToSingle(a))
        : Binary<Single32>.Convert<Double64>(a, true, ref status);

    /// <summary>
    /// VCVTPS2PH: <paramref name="control"/> is the immediate (bits 1:0 rounding, bit 2 use MXCSR). Flush-to-zero does not
    /// apply to the half-precision result (SDM VCVTPS2PH).
    /// </summary>
    public static ushort ToF16(uint a, byte control, ref FloatStatus status)
    {
        uint saved = status.Control;
        status.Control &= ~FloatStatus.FlushToZeroBit;
        if ((control & 4) == 0)
            status.SetRounding((RoundingMode)(control & 3u));
        ulong r = Binary<Single32>.Convert<Half16>(a, true, ref status);
        status.Control = saved;
        return (ushort)r;
    }

    /// <summary>VCVTPH2PS: exact; denormals are neither flushed nor reported (SDM VCVTPH2PS).</summary>
    public static uint FromF16(ushort a, ref FloatStatus status)
    {
        uint saved = status.Control;
        status.Control &= ~FloatStatus.DenormalsAreZeroBit;
        ulong r = Binary<Half16>.Convert<Single32>(a, false, ref status);
        status.Control = saved;
        return (uint)r;
    }

    /// <summary>
    /// RCPSS. Real chips answer from tables of their own; ours is 1/a rounded to 12 bits (relative error at most 2^-13, the
    /// architecture allows 1.5 * 2^-12). Denormals count as zero, tiny results flush to zero, no flag is ever raised.
    /// </summary>
    public static uint ReciprocalApproximate(uint a)
    {
        uint sign = a & SignBit;
        if (Binary<Single32>.IsNaN(a))
            return a | 0x400000;
        uint magnitude = a & ~SignBit;
        if (magnitude < Smallest)
            return sign | Infinity;
        if (magnitude == Infinity)
            return sign;
        // 2^(24+12) / significand, in [2^12, 2^13]: one bit more than kept, for rounding.
        ulong quotient = (1ul << 36) / (magnitude & 0x7FFFFF | 0x800000);
        return Approximation(sign, 253 - (int)(magnitude >> 23), quotient, 12);
    }

    /// <summary>RSQRTSS, in the manner of <see cref="ReciprocalApproximate"/>: negative operands give the default NaN.</summary>
    public static uint ReciprocalSquareRootApproximate(uint a)
    {
        uint sign = a & SignBit;
        if (Binary<Single32>.IsNaN(a))
            return a | 0x400000;
        uint magnitude = a & ~SignBit;
        if (magnitude < Smallest)
            return sign | Infinity;
        if (sign != 0)
            return DefaultNaN;
        if (magnitude == Infinity)
            return 0;
        // a = m * 2^e with e even and m in [1, 4): 1/sqrt(m) is in (1/2, 1].
        int exponent = (int)(magnitude >> 23) - 127;
        ulong m = magnitude & 0x7FFFFF | 0x800000;
        if ((exponent & 1) != 0)
            m <<= 1;
        // floor(2^13 / sqrt(m / 2^23)) = floor(sqrt(2^49 / m)), found by stepping back from the host estimate to the exact floor.
        ulong n = (1ul << 49) / m;
        ulong root = (ulong)Math.Sqrt(n);
        while (root * root > n)
            root--;
        while ((root + 1) * (root + 1) <= n)
            root++;
        return Approximation(0, 126 - (exponent >> 1), root, 12);
    }

    /// <summary>quotient / 2^bits in [1, 2] with the given biased exponent, its last bit rounded away.</summary>
    private static uint Approximation(uint sign, int biasedExponent, ulong quotient, int bits)
    {
        quotient = quotient + 1 >> 1;
        if (quotient >> bits != 0)
        {
            quotient >>= 1;
            biasedExponent++;
        }
        if (biasedExponent <= 0)
            return sign;
        return sign | (uint)biasedExponent << 23 | (uint)(quotient << (24 - bits)) & 0x7FFFFF;
    }

    // The portable twins, kept out of line so that the front doors stay small.
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static uint AddSoft(uint a, uint b, ref FloatStatus status) => (uint)Binary<Single32>.Add(a, b, false, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static uint SubtractSoft(uint a, uint b, ref FloatStatus status) => (uint)Binary<Single32>.Add(a, b, true, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static uint MultiplySoft(uint a, uint b, ref FloatStatus status) => (uint)Binary<Single32>.Multiply(a, b, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static uint DivideSoft(uint a, uint b, ref FloatStatus status) => (uint)Binary<Single32>.Divide(a, b, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static uint SquareRootSoft(uint a, ref FloatStatus status) => (uint)Binary<Single32>.SquareRoot(a, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static uint MultiplyAddSoft(uint a, uint b, uint c, bool negateProduct, bool negateAddend, ref FloatStatus status) =>
        (uint)Binary<Single32>.MultiplyAdd(a, b, c, negateProduct, negateAddend, ref status);
}
