using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter.Float;

/// <summary>
/// SSE and AVX arithmetic on one double-precision element, given and returned as bits. Each method is a short front door that
/// uses the host's own arithmetic when that provably gives the same bits and no new flag, and else calls
/// <see cref="Binary{T}"/>.
/// </summary>
/// <remarks>
/// The front door asks: round to nearest, the precision flag already set and masked (so that an inexact result changes
/// nothing), operands zero or normal, result normal and not the smallest one (which underflow detection looks at) or a
/// zero that needs no rounding. IEEE 754 leaves one possible answer then, on every host.
/// </remarks>
public static class F64
{
    public const ulong SignBit = 0x8000000000000000;
    public const ulong DefaultNaN = 0xFFF8000000000000;
    private const ulong Infinity = 0x7FF0000000000000;
    /// <summary>Below these magnitudes conversion to integers cannot overflow.</summary>
    private const double Int32Limit = 2147483648.0;
    private const double Int64Limit = 9223372036854775808.0;

    private const ulong Smallest = 0x0010000000000000;

    /// <summary>The result is a normal number above the smallest: its exponent field is neither 0, 1 nor all ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsPlain(ulong a) => (a & ~SignBit) - 2 * Smallest < Infinity - 2 * Smallest;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsNormal(ulong a) => (a & ~SignBit) - Smallest < Infinity - Smallest;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsZero(ulong a) => (a & ~SignBit) == 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsNormalOrZero(ulong a) => IsNormal(a) || IsZero(a);

    /// <summary>Round to nearest, and an inexact result would change nothing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsQuiet(in FloatStatus status) =>
        (status.Control & (FloatStatus.RoundingBits | FloatStatus.PrecisionMaskBit | (uint)FloatExceptions.Precision))
        == (FloatStatus.PrecisionMaskBit | (uint)FloatExceptions.Precision);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Add(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            ulong r = BitConverter.DoubleToUInt64Bits(BitConverter.UInt64BitsToDouble(a) + BitConverter.UInt64BitsToDouble(b));
            if (IsPlain(r))
                return r;
        }
        return AddSoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Subtract(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            ulong r = BitConverter.DoubleToUInt64Bits(BitConverter.UInt64BitsToDouble(a) - BitConverter.UInt64BitsToDouble(b));
            if (IsPlain(r))
                return r;
        }
        return SubtractSoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Multiply(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            ulong r = BitConverter.DoubleToUInt64Bits(BitConverter.UInt64BitsToDouble(a) * BitConverter.UInt64BitsToDouble(b));
            if (IsPlain(r) || IsZero(a) || IsZero(b))
                return r;
        }
        return MultiplySoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Divide(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a) && IsNormal(b))
        {
            ulong r = BitConverter.DoubleToUInt64Bits(BitConverter.UInt64BitsToDouble(a) / BitConverter.UInt64BitsToDouble(b));
            if (IsPlain(r) || IsZero(a))
                return r;
        }
        return DivideSoft(a, b, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong SquareRoot(ulong a, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormal(a) && (a & SignBit) == 0)
            return BitConverter.DoubleToUInt64Bits(Math.Sqrt(BitConverter.UInt64BitsToDouble(a)));
        return SquareRootSoft(a, ref status);
    }

    /// <summary>±(a * b) ± c, rounded once; NaNs take precedence in the order a, b, c.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong MultiplyAdd(ulong a, ulong b, ulong c, bool negateProduct, bool negateAddend, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormal(a) && IsNormal(b) && IsNormal(c))
        {
            ulong r = BitConverter.DoubleToUInt64Bits(Math.FusedMultiplyAdd(
                BitConverter.UInt64BitsToDouble(negateProduct ? a ^ SignBit : a), BitConverter.UInt64BitsToDouble(b), BitConverter.UInt64BitsToDouble(negateAddend ? c ^ SignBit : c)));
            if (IsPlain(r))
                return r;
        }
        return MultiplyAddSoft(a, b, c, negateProduct, negateAddend, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Min(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsNormalOrZero(a) && IsNormalOrZero(b))
            return BitConverter.UInt64BitsToDouble(a) < BitConverter.UInt64BitsToDouble(b) ? a : b;
        return (ulong)Binary<Double64>.MinMax(a, b, false, ref status);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Max(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsNormalOrZero(a) && IsNormalOrZero(b))
            return BitConverter.UInt64BitsToDouble(a) > BitConverter.UInt64BitsToDouble(b) ? a : b;
        return (ulong)Binary<Double64>.MinMax(a, b, true, ref status);
    }

    /// <summary>Compares; <paramref name="signalQuiet"/> makes a quiet NaN invalid (COMIS, the signaling predicates).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation Compare(ulong a, ulong b, bool signalQuiet, ref FloatStatus status)
    {
        if (IsNormalOrZero(a) && IsNormalOrZero(b))
        {
            double x = BitConverter.UInt64BitsToDouble(a), y = BitConverter.UInt64BitsToDouble(b);
            return x < y ? FloatRelation.Less : x > y ? FloatRelation.Greater : FloatRelation.Equal;
        }
        return Binary<Double64>.Compare(a, b, signalQuiet, ref status);
    }

    /// <summary>One of the 32 predicates of CMPPS and VCMPPS: true or false for the element.</summary>
    public static bool ComparePredicate(ulong a, ulong b, int predicate, ref FloatStatus status) =>
        FloatPredicate.Holds(predicate, Compare(a, b, FloatPredicate.IsSignaling(predicate), ref status));

    /// <summary>ROUNDSS, ROUNDSD: <paramref name="control"/> is the instruction's immediate.</summary>
    public static ulong RoundToIntegral(ulong a, byte control, ref FloatStatus status)
    {
        if (!IsNormalOrZero(a))
            return (ulong)Binary<Double64>.RoundToIntegral(a, control, ref status);
        double x = BitConverter.UInt64BitsToDouble(a);
        double r = Integral(x, (control & 4) != 0 ? status.Rounding : (RoundingMode)(control & 3u));
        if (r != x && (control & 8) == 0)
            status.Raise(FloatExceptions.Precision);
        return BitConverter.DoubleToUInt64Bits(r);
    }

    private static double Integral(double x, RoundingMode rounding) => rounding switch
    {
        RoundingMode.Nearest => Math.Round(x, MidpointRounding.ToEven),
        RoundingMode.Down => Math.Floor(x),
        RoundingMode.Up => Math.Ceiling(x),
        _ => Math.Truncate(x),
    };

    /// <summary>To int32, rounded as MXCSR says.</summary>
    public static int ToInt32(ulong a, ref FloatStatus status)
    {
        double x = BitConverter.UInt64BitsToDouble(a);
        if (IsNormalOrZero(a) && Math.Abs(x) < Int32Limit)
        {
            double r = Integral(x, status.Rounding);
            if (Math.Abs(r) < Int32Limit)
            {
                if (r != x)
                    status.Raise(FloatExceptions.Precision);
                return (int)r;
            }
        }
        return (int)Binary<Double64>.ToSigned(a, 32, status.Rounding, ref status);
    }

    /// <summary>To int64, rounded as MXCSR says.</summary>
    public static long ToInt64(ulong a, ref FloatStatus status)
    {
        double x = BitConverter.UInt64BitsToDouble(a);
        if (IsNormalOrZero(a) && Math.Abs(x) < Int64Limit)
        {
            double r = Integral(x, status.Rounding);
            if (Math.Abs(r) < Int64Limit)
            {
                if (r != x)
                    status.Raise(FloatExceptions.Precision);
                return (long)r;
            }
        }
        return Binary<Double64>.ToSigned(a, 64, status.Rounding, ref status);
    }

    public static uint ToUInt32(ulong a, ref FloatStatus status) => (uint)Binary<Double64>.ToUnsigned(a, 32, status.Rounding, ref status);

    public static ulong ToUInt64(ulong a, ref FloatStatus status) => Binary<Double64>.ToUnsigned(a, 64, status.Rounding, ref status);

    public static int ToInt32Truncated(ulong a, ref FloatStatus status)
    {
        double x = BitConverter.UInt64BitsToDouble(a);
        if (IsNormalOrZero(a) && Math.Abs(x) < Int32Limit)
        {
            var r = (int)x;
            if (r != x)
                status.Raise(FloatExceptions.Precision);
            return r;
        }
        return (int)Binary<Double64>.ToSigned(a, 32, RoundingMode.TowardZero, ref status);
    }

    public static long ToInt64Truncated(ulong a, ref FloatStatus status)
    {
        double x = BitConverter.UInt64BitsToDouble(a);
        if (IsNormalOrZero(a) && Math.Abs(x) < Int64Limit)
        {
            var r = (long)x;
            if (r != x)
                status.Raise(FloatExceptions.Precision);
            return r;
        }
        return Binary<Double64>.ToSigned(a, 64, RoundingMode.TowardZero, ref status);
    }

    public static uint ToUInt32Truncated(ulong a, ref FloatStatus status) =>
        (uint)Binary<Double64>.ToUnsigned(a, 32, RoundingMode.TowardZero, ref status);

    public static ulong ToUInt64Truncated(ulong a, ref FloatStatus status) =>
        Binary<Double64>.ToUnsigned(a, 64, RoundingMode.TowardZero, ref status);

    /// <summary>Exact.</summary>
    public static ulong FromInt32(int value, ref FloatStatus status) => BitConverter.DoubleToUInt64Bits(value);

    public static ulong FromInt64(long value, ref FloatStatus status) => value is >= -(1L << 53) and <= 1L << 53
        ? BitConverter.DoubleToUInt64Bits(value)
        : Binary<Double64>.FromSigned(value, ref status);

    public static ulong FromUInt32(uint value, ref FloatStatus status) => (ulong)Binary<Double64>.FromUnsigned(value, ref status);

    public static ulong FromUInt64(ulong value, ref FloatStatus status) => (ulong)Binary<Double64>.FromUnsigned(value, ref status);

    /// <summary>CVTSD2SS.</summary>
    public static uint ToF32(ulong a, ref FloatStatus status)
    {
        if (IsQuiet(status) && IsNormalOrZero(a))
        {
            uint r = BitConverter.SingleToUInt32Bits((float)BitConverter.UInt64BitsToDouble(a));
            if (F32.IsPlain(r) || IsZero(a))
                return r;
        }
        return (uint)Binary<Double64>.Convert<Single32>(a, true, ref status);
    }

    // The portable twins, kept out of line so that the front doors stay small.
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static ulong AddSoft(ulong a, ulong b, ref FloatStatus status) => (ulong)Binary<Double64>.Add(a, b, false, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static ulong SubtractSoft(ulong a, ulong b, ref FloatStatus status) => (ulong)Binary<Double64>.Add(a, b, true, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static ulong MultiplySoft(ulong a, ulong b, ref FloatStatus status) => (ulong)Binary<Double64>.Multiply(a, b, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static ulong DivideSoft(ulong a, ulong b, ref FloatStatus status) => (ulong)Binary<Double64>.Divide(a, b, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static ulong SquareRootSoft(ulong a, ref FloatStatus status) => (ulong)Binary<Double64>.SquareRoot(a, ref status);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static ulong MultiplyAddSoft(ulong a, ulong b, ulong c, bool negateProduct, bool negateAddend, ref FloatStatus status) =>
        (ulong)Binary<Double64>.MultiplyAdd(a, b, c, negateProduct, negateAddend, ref status);
}
