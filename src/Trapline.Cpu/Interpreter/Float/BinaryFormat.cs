using System.Numerics;
using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter.Float;

/// <summary>The two numbers that define an IEEE 754 interchange format.</summary>
internal interface IBinaryFormat
{
    /// <summary>Significand bits, the implied one included.</summary>
    static abstract int Precision { get; }

    static abstract int ExponentBits { get; }
}

internal readonly struct Half16 : IBinaryFormat
{
    public static int Precision => 11;
    public static int ExponentBits => 5;
}

internal readonly struct Single32 : IBinaryFormat
{
    public static int Precision => 24;
    public static int ExponentBits => 8;
}

internal readonly struct Double64 : IBinaryFormat
{
    public static int Precision => 53;
    public static int ExponentBits => 11;
}

/// <summary>
/// SSE's arithmetic on one element of format <typeparamref name="T"/>, entirely in integers: every result and every MXCSR
/// flag comes from here whenever the fast paths of <see cref="F32"/> and <see cref="F64"/> do not apply.
/// </summary>
/// <remarks>
/// Order of exceptions (SDM Vol.1 4.9.2): signaling NaN, quiet NaN, other invalid operation or division by zero, denormal
/// operand, then overflow, underflow and precision. NaN results: SDM Vol.1 table 4-7. When an unmasked exception is found
/// before computation the value returned is meaningless (the instruction faults) and no later flag is raised.
/// </remarks>
internal static class Binary<T> where T : struct, IBinaryFormat
{
    public static int FractionBits { [MethodImpl(MethodImplOptions.AggressiveInlining)] get => T.Precision - 1; }

    public static int ExponentMax => (1 << T.ExponentBits) - 1;

    public static int Bias => (1 << (T.ExponentBits - 1)) - 1;

    public static int MinExponent => 1 - Bias;

    public static ulong SignBit => 1ul << (FractionBits + T.ExponentBits);

    public static ulong Infinity => (ulong)ExponentMax << FractionBits;

    public static ulong QuietBit => 1ul << (FractionBits - 1);

    /// <summary>"QNaN floating-point indefinite": negative, quiet, no payload (SDM Vol.1 4.8.3.7).</summary>
    public static ulong DefaultNaN => SignBit | Infinity | QuietBit;

    public static bool IsNaN(ulong a) => (a & ~SignBit) > Infinity;

    public static bool IsSignaling(ulong a) => IsNaN(a) && (a & QuietBit) == 0;

    public static Unpacked Unpack(ulong a, in FloatStatus status) => Unpack(a, status.DenormalsAreZero);

    public static Unpacked Unpack(ulong a, bool denormalsAreZero)
    {
        Unpacked u = default;
        u.Sign = (a & SignBit) != 0;
        int exponent = (int)(a >> FractionBits) & ExponentMax;
        ulong fraction = a & ((1ul << FractionBits) - 1);
        if (exponent == ExponentMax)
        {
            u.Class = FloatClass.Infinity;
        }
        else if (exponent != 0)
        {
            u.Class = FloatClass.Finite;
            u.Significand = 1ul << 63 | fraction << (63 - FractionBits);
            u.Exponent = exponent - Bias;
        }
        else if (fraction != 0 && !denormalsAreZero)
        {
            u.Class = FloatClass.Finite;
            u.Denormal = true;
            int shift = BitOperations.LeadingZeroCount(fraction);
            u.Significand = fraction << shift;
            u.Exponent = MinExponent + 63 - FractionBits - shift;
        }
        return u;
    }

    private static ulong Pack(bool sign, FloatClass kind) =>
        (sign ? SignBit : 0) | (kind == FloatClass.Infinity ? Infinity : 0);

    /// <summary>The masked response to an invalid operation that had no NaN operand.</summary>
    private static ulong Invalid(ref FloatStatus status)
    {
        status.Raise(FloatExceptions.Invalid);
        return DefaultNaN;
    }

    /// <summary>The first source when it is a NaN, else the second, quieted (SDM Vol.1 table 4-7).</summary>
    private static ulong PropagateNaN(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsSignaling(a) || IsSignaling(b))
            status.Raise(FloatExceptions.Invalid);
        return (IsNaN(a) ? a : b) | QuietBit;
    }

    /// <summary>Rounds to the format with MXCSR's overflow, underflow and flush-to-zero rules (SDM Vol.1 4.9.1.4 to 4.9.1.6, 10.2.3.3).</summary>
    public static ulong Round(in Intermediate r, ref FloatStatus status)
    {
        if (r.IsZero)
            return r.Sign ? SignBit : 0;
        RoundingMode rounding = status.Rounding;
        ulong signBit = r.Sign ? SignBit : 0;
        ulong significand = Exact.RoundSignificand(r.High, r.Low, T.Precision, rounding, r.Sign, out bool inexact, out bool up, out bool carry);
        int exponent = r.Exponent + (carry ? 1 : 0);

        if (exponent > Bias)
        {
            status.Raise(FloatExceptions.Overflow);
            if (inexact || (status.Masks & FloatExceptions.Overflow) != 0)
                status.Raise(FloatExceptions.Precision);
            return OverflowResult(rounding, r.Sign);
        }

        if (exponent < MinExponent)
        {
            // Tiny after rounding. Unmasked, that alone is the exception; masked, it takes a loss of accuracy as well,
            // or flush-to-zero, which loses everything.
            if ((status.Masks & FloatExceptions.Underflow) == 0)
            {
                status.Raise(FloatExceptions.Underflow);
                if (inexact)
                    status.Raise(FloatExceptions.Precision);
                return signBit;
            }
            if (status.FlushToZero)
            {
                status.Raise(FloatExceptions.Underflow | FloatExceptions.Precision);
                return signBit;
            }
            UInt128 shifted = Exact.ShiftRightSticky(new UInt128(r.High, r.Low), MinExponent - r.Exponent);
            significand = Exact.RoundSignificand(
                (ulong)(shifted >> 64), (ulong)shifted, T.Precision, rounding, r.Sign, out inexact, out up, out _);
            if (inexact)
                status.Raise(FloatExceptions.Underflow | FloatExceptions.Precision);
            status.RoundedUp = up;
            // A carry into the top bit makes the smallest normal number: the packed fraction overflows into the exponent.
            return signBit | significand >> (63 - FractionBits);
        }

        if (inexact)
            status.Raise(FloatExceptions.Precision);
        status.RoundedUp = up;
        return signBit | ((ulong)(exponent + Bias) << FractionBits) | (significand << 1 >> (64 - FractionBits));
    }

    public static ulong OverflowResult(RoundingMode rounding, bool sign)
    {
        bool toInfinity = rounding switch
        {
            RoundingMode.Nearest => true,
            RoundingMode.Down => sign,
            RoundingMode.Up => !sign,
            _ => false,
        };
        return (sign ? SignBit : 0) | (toInfinity ? Infinity : Infinity - 1);
    }

    public static ulong Add(ulong a, ulong b, bool subtract, ref FloatStatus status)
    {
        if (IsNaN(a) || IsNaN(b))
            return PropagateNaN(a, b, ref status);
        Unpacked x = Unpack(a, status);
        Unpacked y = Unpack(b, status);
        y.Sign ^= subtract;
        if (x.Class == FloatClass.Infinity && y.Class == FloatClass.Infinity && x.Sign != y.Sign)
            return Invalid(ref status);
        if ((x.Denormal || y.Denormal) && status.Raise(FloatExceptions.Denormal))
            return 0;
        if (x.Class == FloatClass.Infinity)
            return Pack(x.Sign, FloatClass.Infinity);
        if (y.Class == FloatClass.Infinity)
            return Pack(y.Sign, FloatClass.Infinity);
        return Round(Exact.Add(x, y, status.Rounding), ref status);
    }

    public static ulong Multiply(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsNaN(a) || IsNaN(b))
            return PropagateNaN(a, b, ref status);
        Unpacked x = Unpack(a, status);
        Unpacked y = Unpack(b, status);
        bool sign = x.Sign ^ y.Sign;
        bool infinity = x.Class == FloatClass.Infinity || y.Class == FloatClass.Infinity;
        bool zero = x.Class == FloatClass.Zero || y.Class == FloatClass.Zero;
        if (infinity && zero)
            return Invalid(ref status);
        if ((x.Denormal || y.Denormal) && status.Raise(FloatExceptions.Denormal))
            return 0;
        if (infinity)
            return Pack(sign, FloatClass.Infinity);
        if (zero)
            return Pack(sign, FloatClass.Zero);
        return Round(Exact.Multiply(x, y), ref status);
    }

    public static ulong Divide(ulong a, ulong b, ref FloatStatus status)
    {
        if (IsNaN(a) || IsNaN(b))
            return PropagateNaN(a, b, ref status);
        Unpacked x = Unpack(a, status);
        Unpacked y = Unpack(b, status);
        bool sign = x.Sign ^ y.Sign;
        if (x.Class == y.Class && x.Class != FloatClass.Finite)
            return Invalid(ref status);
        if (y.Class == FloatClass.Zero && x.Class == FloatClass.Finite)
        {
            status.Raise(FloatExceptions.ZeroDivide);
            return Pack(sign, FloatClass.Infinity);
        }
        if ((x.Denormal || y.Denormal) && status.Raise(FloatExceptions.Denormal))
            return 0;
        if (x.Class == FloatClass.Infinity)
            return Pack(sign, FloatClass.Infinity);
        if (y.Class == FloatClass.Infinity || x.Class == FloatClass.Zero)
            return Pack(sign, FloatClass.Zero);
        if (y.Class == FloatClass.Zero)
            return Pack(sign, FloatClass.Infinity);
        return Round(Exact.Divide(x, y), ref status);
    }

    public static ulong SquareRoot(ulong a, ref FloatStatus status)
    {
        if (IsNaN(a))
            return PropagateNaN(a, a, ref status);
        Unpacked x = Unpack(a, status);
        if (x.Class == FloatClass.Zero)
            return Pack(x.Sign, FloatClass.Zero);
        if (x.Sign)
            return Invalid(ref status);
        if (x.Class == FloatClass.Infinity)
            return Infinity;
        if (x.Denormal && status.Raise(FloatExceptions.Denormal))
            return 0;
        return Round(Exact.SquareRoot(x), ref status);
    }

    /// <summary>±(a * b) ± c with one rounding (SDM Vol.1 14.5). The signs are applied after NaNs are dealt with.</summary>
    public static ulong MultiplyAdd(ulong a, ulong b, ulong c, bool negateProduct, bool negateAddend, ref FloatStatus status)
    {
        if (IsNaN(a) || IsNaN(b) || IsNaN(c))
        {
            if (IsSignaling(a) || IsSignaling(b) || IsSignaling(c))
                status.Raise(FloatExceptions.Invalid);
            return (IsNaN(a) ? a : IsNaN(b) ? b : c) | QuietBit;
        }
        Unpacked x = Unpack(a, status);
        Unpacked y = Unpack(b, status);
        Unpacked z = Unpack(c, status);
        x.Sign ^= negateProduct;
        z.Sign ^= negateAddend;
        bool sign = x.Sign ^ y.Sign;
        bool infiniteProduct = x.Class == FloatClass.Infinity || y.Class == FloatClass.Infinity;
        if (infiniteProduct && (x.Class == FloatClass.Zero || y.Class == FloatClass.Zero))
            return Invalid(ref status);
        if (infiniteProduct && z.Class == FloatClass.Infinity && sign != z.Sign)
            return Invalid(ref status);
        if ((x.Denormal || y.Denormal || z.Denormal) && status.Raise(FloatExceptions.Denormal))
            return 0;
        if (infiniteProduct)
            return Pack(sign, FloatClass.Infinity);
        if (z.Class == FloatClass.Infinity)
            return Pack(z.Sign, FloatClass.Infinity);
        return Round(Exact.MultiplyAdd(x, y, z, status.Rounding), ref status);
    }

    /// <summary>
    /// MINSS and MAXSS: the second source whenever either is a NaN (any NaN is invalid) or both are zeros (SDM MINSS, MAXSS).
    /// </summary>
    public static ulong MinMax(ulong a, ulong b, bool max, ref FloatStatus status)
    {
        if (status.DenormalsAreZero)
        {
            a = FlushDenormal(a);
            b = FlushDenormal(b);
        }
        FloatRelation relation = Compare(a, b, true, ref status);
        return relation == (max ? FloatRelation.Greater : FloatRelation.Less) ? a : b;
    }

    private static ulong FlushDenormal(ulong a) => (a & Infinity) == 0 ? a & SignBit : a;

    /// <summary>Compares; a quiet NaN is invalid too when <paramref name="signalQuiet"/> (COMISS against UCOMISS).</summary>
    public static FloatRelation Compare(ulong a, ulong b, bool signalQuiet, ref FloatStatus status)
    {
        if (IsNaN(a) || IsNaN(b))
        {
            if (signalQuiet || IsSignaling(a) || IsSignaling(b))
                status.Raise(FloatExceptions.Invalid);
            return FloatRelation.Unordered;
        }
        if (status.DenormalsAreZero)
        {
            a = FlushDenormal(a);
            b = FlushDenormal(b);
        }
        if ((IsDenormal(a) || IsDenormal(b)) && status.Raise(FloatExceptions.Denormal))
            return FloatRelation.Unordered;
        long x = Ordered(a);
        long y = Ordered(b);
        return x < y ? FloatRelation.Less : x > y ? FloatRelation.Greater : FloatRelation.Equal;
    }

    private static bool IsDenormal(ulong a) => (a & Infinity) == 0 && (a & ~SignBit) != 0;

    /// <summary>Sign-magnitude to two's complement, so that integers order as the numbers do and both zeros are 0.</summary>
    private static long Ordered(ulong a) => (a & SignBit) != 0 ? -(long)(a & ~SignBit) : (long)a;

    /// <summary>
    /// ROUNDSS and friends: bits 1:0 of the immediate are the rounding mode unless bit 2 chooses MXCSR's; bit 3 suppresses the
    /// precision exception (SDM ROUNDSD, table 4-18). Denormals raise nothing.
    /// </summary>
    public static ulong RoundToIntegral(ulong a, byte control, ref FloatStatus status)
    {
        if (IsNaN(a))
            return PropagateNaN(a, a, ref status);
        Unpacked x = Unpack(a, status);
        if (x.Class == FloatClass.Zero)
            return Pack(x.Sign, FloatClass.Zero);
        if (x.Class == FloatClass.Infinity || x.Exponent >= FractionBits)
            return a;
        RoundingMode rounding = (control & 4) != 0 ? status.Rounding : (RoundingMode)(control & 3u);
        Exact.ToInteger(x, rounding, out ulong magnitude, out bool inexact, out _);
        if (inexact && (control & 8) == 0)
            status.Raise(FloatExceptions.Precision);
        Unpacked r = Exact.FromInteger(magnitude, x.Sign);
        if (r.Class == FloatClass.Zero)
            return Pack(x.Sign, FloatClass.Zero);
        return (r.Sign ? SignBit : 0) | ((ulong)(r.Exponent + Bias) << FractionBits) | (r.Significand << 1 >> (64 - FractionBits));
    }

    /// <summary>
    /// To a signed integer of <paramref name="bits"/> bits; out of range and NaN give the integer indefinite, the smallest
    /// negative one, with invalid and without precision (SDM Vol.1 4.8.3.7, E.4.2).
    /// </summary>
    public static long ToSigned(ulong a, int bits, RoundingMode rounding, ref FloatStatus status)
    {
        long indefinite = long.MinValue >> (64 - bits);
        if (!IsNaN(a))
        {
            Unpacked x = Unpack(a, status);
            ulong limit = 1ul << (bits - 1);
            if (x.Class != FloatClass.Infinity
                && Exact.ToInteger(x, rounding, out ulong magnitude, out bool inexact, out _)
                && (magnitude < limit || (x.Sign && magnitude == limit)))
            {
                if (inexact)
                    status.Raise(FloatExceptions.Precision);
                return x.Sign ? -(long)magnitude : (long)magnitude;
            }
        }
        status.Raise(FloatExceptions.Invalid);
        return indefinite;
    }

    /// <summary>To an unsigned integer; out of range and NaN give all ones (SDM VCVTSD2USI).</summary>
    public static ulong ToUnsigned(ulong a, int bits, RoundingMode rounding, ref FloatStatus status)
    {
        ulong max = ulong.MaxValue >> (64 - bits);
        if (!IsNaN(a))
        {
            Unpacked x = Unpack(a, status);
            if (x.Class != FloatClass.Infinity
                && Exact.ToInteger(x, rounding, out ulong magnitude, out bool inexact, out _)
                && magnitude <= max && (!x.Sign || magnitude == 0))
            {
                if (inexact)
                    status.Raise(FloatExceptions.Precision);
                return magnitude;
            }
        }
        status.Raise(FloatExceptions.Invalid);
        return max;
    }

    public static ulong FromSigned(long value, ref FloatStatus status) =>
        Round(Exact.From(Exact.FromInteger(value < 0 ? (ulong)-value : (ulong)value, value < 0)), ref status);

    public static ulong FromUnsigned(ulong value, ref FloatStatus status) =>
        Round(Exact.From(Exact.FromInteger(value, false)), ref status);

    /// <summary>From this format to <typeparamref name="TTo"/>; a NaN keeps its payload's top bits and becomes quiet (SDM Vol.1 4.8.3.5).</summary>
    public static ulong Convert<TTo>(ulong a, bool reportDenormal, ref FloatStatus status) where TTo : struct, IBinaryFormat
    {
        if (IsNaN(a))
        {
            if (IsSignaling(a))
                status.Raise(FloatExceptions.Invalid);
            ulong payload = a << (64 - FractionBits) >> 1 | 1ul << 62;
            return ((a & SignBit) != 0 ? Binary<TTo>.SignBit : 0) | Binary<TTo>.Infinity
                | payload << 1 >> (64 - Binary<TTo>.FractionBits);
        }
        Unpacked x = Unpack(a, status);
        if (x.Class == FloatClass.Infinity)
            return (x.Sign ? Binary<TTo>.SignBit : 0) | Binary<TTo>.Infinity;
        if (x.Denormal && reportDenormal && status.Raise(FloatExceptions.Denormal))
            return 0;
        return Binary<TTo>.Round(Exact.From(x), ref status);
    }
}
