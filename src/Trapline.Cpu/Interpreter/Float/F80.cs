using System.Numerics;

namespace Trapline.Cpu.Interpreter.Float;

/// <summary>What FXAM sees in a register.</summary>
public enum F80Class
{
    Unsupported,
    NaN,
    Normal,
    Infinity,
    Zero,
    Denormal,
}

/// <summary>
/// A double-extended number as x87 registers hold it: sign and 15-bit exponent, and a 64-bit significand whose integer bit is
/// explicit (SDM Vol.1 4.2.2, 8.2). Operations are static, take a <see cref="FloatStatus"/> made by
/// <see cref="FloatStatus.X87"/>, and return the response the SDM gives for the masks in it.
/// </summary>
/// <remarks>
/// When <see cref="FloatStatus.Unmasked"/> holds invalid, denormal or zero-divide after an operation, its destination must be
/// left alone. Unmasked overflow and underflow deliver the result with its exponent wrapped by 24576 (SDM Vol.1 8.5.4, 8.5.5)
/// to registers, and nothing to memory.
/// Exponents with the integer bit clear are "unsupported" (unnormals, pseudo-infinities, pseudo-NaNs) and invalid in every
/// operation; pseudo-denormals are read as the numbers they spell (SDM Vol.1 8.2.2).
/// </remarks>
public readonly partial struct F80(ushort signExponent, ulong significand) : IEquatable<F80>
{
    public readonly ulong Significand = significand;
    public readonly ushort SignExponent = signExponent;

    private const int Bias = 16383;
    private const int MinExponent = 1 - Bias;
    private const int Wrap = 24576;
    private const ulong IntegerBit = 1ul << 63;
    private const ulong QuietBit = 1ul << 62;

    /// <summary>"Real indefinite", the masked answer to invalid operations.</summary>
    public static F80 DefaultNaN => new(0xFFFF, 0xC000000000000000);

    public static F80 Zero => default;

    public static F80 One => new(0x3FFF, IntegerBit);

    public bool Sign => SignExponent >> 15 != 0;

    private int BiasedExponent => SignExponent & 0x7FFF;

    /// <summary>An unnormal, pseudo-infinity or pseudo-NaN: no 387 or later produces or accepts one.</summary>
    public bool IsUnsupported => BiasedExponent != 0 && (Significand & IntegerBit) == 0;

    /// <summary>A NaN proper.</summary>
    public bool IsNaN => BiasedExponent == 0x7FFF && Significand > IntegerBit;

    public bool IsSignalingNaN => IsNaN && (Significand & QuietBit) == 0;

    public bool IsInfinity => BiasedExponent == 0x7FFF && Significand == IntegerBit;

    public bool IsZero => BiasedExponent == 0 && Significand == 0;

    /// <summary>Denormal or pseudo-denormal.</summary>
    public bool IsDenormal => BiasedExponent == 0 && Significand != 0;

    /// <summary>The class as FXAM reports it and the tag word derives from; pseudo-denormals are denormals.</summary>
    public F80Class Class =>
        BiasedExponent == 0 ? Significand == 0 ? F80Class.Zero : F80Class.Denormal
        : (Significand & IntegerBit) == 0 ? F80Class.Unsupported
        : BiasedExponent != 0x7FFF ? F80Class.Normal
        : Significand == IntegerBit ? F80Class.Infinity : F80Class.NaN;

    public F80 Negate() => new((ushort)(SignExponent ^ 0x8000), Significand);

    public F80 Abs() => new((ushort)(SignExponent & 0x7FFF), Significand);

    public bool Equals(F80 other) => Significand == other.Significand && SignExponent == other.SignExponent;

    public override bool Equals(object? obj) => obj is F80 other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(Significand, SignExponent);

    public static bool operator ==(F80 a, F80 b) => a.Equals(b);

    public static bool operator !=(F80 a, F80 b) => !a.Equals(b);

    public override string ToString() => $"{SignExponent:X4}:{Significand:X16}";

    private static F80 Infinity(bool sign) => new((ushort)(sign ? 0xFFFF : 0x7FFF), IntegerBit);

    private static F80 SignedZero(bool sign) => new((ushort)(sign ? 0x8000 : 0), 0);

    internal Unpacked Unpack()
    {
        Unpacked u = default;
        u.Sign = Sign;
        int exponent = BiasedExponent;
        if (exponent == 0)
        {
            if (Significand == 0)
                return u;
            int shift = BitOperations.LeadingZeroCount(Significand);
            u.Class = FloatClass.Finite;
            u.Denormal = true;
            u.Significand = Significand << shift;
            u.Exponent = MinExponent - shift;
            return u;
        }
        u.Class = exponent == 0x7FFF ? FloatClass.Infinity : FloatClass.Finite;
        u.Significand = Significand;
        u.Exponent = exponent - Bias;
        return u;
    }

    private static F80 Invalid(ref FloatStatus status)
    {
        status.Raise(FloatExceptions.Invalid);
        return DefaultNaN;
    }

    /// <summary>Anything that is not a number: NaNs and unsupported encodings.</summary>
    private bool IsSpecial => IsUnsupported || IsNaN;

    private static F80 Quiet(F80 a) => new(a.SignExponent, a.Significand | QuietBit);

    /// <summary>The answer when an operand is a NaN or unsupported (SDM Vol.1 tables 4-7 and 8-10).</summary>
    private static F80 PropagateNaN(F80 a, ref FloatStatus status) => PropagateNaN(a, a, ref status);

    private static F80 PropagateNaN(F80 a, F80 b, ref FloatStatus status)
    {
        if (a.IsUnsupported || b.IsUnsupported)
            return Invalid(ref status);
        if (a.IsSignalingNaN || b.IsSignalingNaN)
            status.Raise(FloatExceptions.Invalid);
        if (!b.IsNaN)
            return Quiet(a);
        if (!a.IsNaN)
            return Quiet(b);
        // One signaling, one quiet: the quiet one. Else the larger significand; equal ones: the positive one.
        if (a.IsSignalingNaN != b.IsSignalingNaN)
            return a.IsSignalingNaN ? b : a;
        if (a.Significand != b.Significand)
            return Quiet(a.Significand > b.Significand ? a : b);
        return Quiet(a.Sign ? b : a);
    }

    /// <summary>Rounds to <paramref name="precision"/> significand bits and 15 exponent bits.</summary>
    private static F80 Round(in Intermediate r, int precision, ref FloatStatus status)
    {
        if (r.IsZero)
            return SignedZero(r.Sign);
        RoundingMode rounding = status.Rounding;
        int signBit = r.Sign ? 0x8000 : 0;
        ulong significand = Exact.RoundSignificand(r.High, r.Low, precision, rounding, r.Sign, out bool inexact, out bool up, out bool carry);
        int exponent = r.Exponent + (carry ? 1 : 0);

        if (exponent > Bias)
        {
            if (!status.Raise(FloatExceptions.Overflow))
            {
                status.Raise(FloatExceptions.Precision);
                status.RoundedUp = rounding == RoundingMode.Nearest || rounding == (r.Sign ? RoundingMode.Down : RoundingMode.Up);
                return status.RoundedUp
                    ? Infinity(r.Sign)
                    : new F80((ushort)(signBit | 0x7FFE), ulong.MaxValue << (64 - precision));
            }
            exponent -= Wrap;
            if (exponent > Bias)
            {
                // FSCALE can go beyond even the wrapped range ("massive overflow", SDM Vol.1 8.5.4).
                status.Raise(FloatExceptions.Precision);
                status.RoundedUp = true;
                return Infinity(r.Sign);
            }
        }
        else if (exponent < MinExponent)
        {
            if ((status.Masks & FloatExceptions.Underflow) != 0)
            {
                UInt128 shifted = Exact.ShiftRightSticky(new UInt128(r.High, r.Low), MinExponent - r.Exponent);
                significand = Exact.RoundSignificand(
                    (ulong)(shifted >> 64), (ulong)shifted, precision, rounding, r.Sign, out inexact, out up, out _);
                if (inexact)
                    status.Raise(FloatExceptions.Underflow | FloatExceptions.Precision);
                status.RoundedUp = up;
                return new F80((ushort)(signBit | (significand >= IntegerBit ? 1 : 0)), significand);
            }
            status.Raise(FloatExceptions.Underflow);
            exponent += Wrap;
            if (exponent < MinExponent)
            {
                status.Raise(FloatExceptions.Precision);
                return SignedZero(r.Sign);
            }
        }
        if (inexact)
            status.Raise(FloatExceptions.Precision);
        status.RoundedUp = up;
        return new F80((ushort)(signBit | (exponent + Bias)), significand);
    }

    public static F80 Add(F80 a, F80 b, ref FloatStatus status) =>
        IsPlain(status) && AddPlain(a, b, ref status, out F80 r) ? r : AddSubtract(a, b, false, ref status);

    public static F80 Subtract(F80 a, F80 b, ref FloatStatus status) =>
        IsPlain(status) && AddPlain(a, b.Negate(), ref status, out F80 r) ? r : AddSubtract(a, b, true, ref status);

    /// <summary>The portable twins without fast paths.</summary>
    public static F80 AddSoft(F80 a, F80 b, ref FloatStatus status) => AddSubtract(a, b, false, ref status);

    public static F80 SubtractSoft(F80 a, F80 b, ref FloatStatus status) => AddSubtract(a, b, true, ref status);

    /// <summary>What nearly all code runs under: 64-bit precision, round to nearest. No denormal memory operand either.</summary>
    private static bool IsPlain(in FloatStatus status) =>
        (status.Control & (FloatStatus.RoundingBits | 3u << FloatStatus.PrecisionControlShift)) == 3u << FloatStatus.PrecisionControlShift
        && !status.MemoryOperandDenormal;

    private bool IsNormal => (uint)(BiasedExponent - 1) < 0x7FFE && (long)Significand < 0;

    /// <summary>a + b when both are normal, and so is the result; else false, with nothing raised.</summary>
    private static bool AddPlain(F80 a, F80 b, ref FloatStatus status, out F80 result)
    {
        result = default;
        if (!a.IsNormal || !b.IsNormal)
            return false;
        int distance = a.BiasedExponent - b.BiasedExponent;
        if (distance < 0 || (distance == 0 && a.Significand < b.Significand))
        {
            (a, b) = (b, a);
            distance = -distance;
        }
        if ((uint)(distance - 1) >= 63)
        {
            if (distance != 0)
                return false;
        }
        int exponent = a.BiasedExponent;
        ulong high = b.Significand >> distance;
        ulong low = distance == 0 ? 0 : b.Significand << (64 - distance);
        if (a.Sign == b.Sign)
        {
            high += a.Significand;
            if (high < a.Significand)
            {
                low = low >> 1 | (low & 1) | high << 63;
                high = high >> 1 | IntegerBit;
                exponent++;
            }
        }
        else
        {
            high = a.Significand - high - (low != 0 ? 1ul : 0);
            low = 0 - low;
            if ((long)high >= 0)
            {
                if (high == 0)
                    return false;
                int shift = BitOperations.LeadingZeroCount(high);
                high = high << shift | low >> (64 - shift);
                low <<= shift;
                exponent -= shift;
            }
        }
        return RoundPlain(a.SignExponent & 0x8000, exponent, high, low, ref status, out result);
    }

    /// <summary>Rounds high:low, whose top bit is set, to nearest; false when the exponent leaves the normal range.</summary>
    private static bool RoundPlain(int sign, int exponent, ulong high, ulong low, ref FloatStatus status, out F80 result)
    {
        bool up = low > IntegerBit || (low == IntegerBit && (high & 1) != 0);
        if (up && ++high == 0)
        {
            high = IntegerBit;
            exponent++;
        }
        result = new F80((ushort)(sign | exponent), high);
        if ((uint)(exponent - 1) >= 0x7FFE)
            return false;
        if (low != 0)
            status.Raise(FloatExceptions.Precision);
        status.RoundedUp = up;
        return true;
    }

    private static F80 AddSubtract(F80 a, F80 b, bool subtract, ref FloatStatus status)
    {
        if (a.IsSpecial || b.IsSpecial)
            return PropagateNaN(a, b, ref status);
        Unpacked x = a.Unpack();
        Unpacked y = b.Unpack();
        y.Sign ^= subtract;
        if (x.Class == FloatClass.Infinity && y.Class == FloatClass.Infinity && x.Sign != y.Sign)
            return Invalid(ref status);
        if (RaiseDenormal(x, y, ref status))
            return a;
        if (x.Class == FloatClass.Infinity)
            return Infinity(x.Sign);
        if (y.Class == FloatClass.Infinity)
            return Infinity(y.Sign);
        return Round(Exact.Add(x, y, status.Rounding), status.X87Precision, ref status);
    }

    /// <summary>Reports denormal operands; true when the exception is unmasked and the operation must stop.</summary>
    private static bool RaiseDenormal(in Unpacked x, in Unpacked y, ref FloatStatus status) =>
        (x.Denormal || y.Denormal || status.MemoryOperandDenormal) && status.Raise(FloatExceptions.Denormal);

    public static F80 Multiply(F80 a, F80 b, ref FloatStatus status)
    {
        if (IsPlain(status) && a.IsNormal && b.IsNormal)
        {
            ulong high = Math.BigMul(a.Significand, b.Significand, out ulong low);
            int exponent = a.BiasedExponent + b.BiasedExponent - Bias + 1;
            if ((long)high >= 0)
            {
                high = high << 1 | low >> 63;
                low <<= 1;
                exponent--;
            }
            if (RoundPlain((a.SignExponent ^ b.SignExponent) & 0x8000, exponent, high, low, ref status, out F80 r))
                return r;
        }
        return MultiplySoft(a, b, ref status);
    }

    public static F80 MultiplySoft(F80 a, F80 b, ref FloatStatus status)
    {
        if (a.IsSpecial || b.IsSpecial)
            return PropagateNaN(a, b, ref status);
        Unpacked x = a.Unpack();
        Unpacked y = b.Unpack();
        bool sign = x.Sign ^ y.Sign;
        bool infinity = x.Class == FloatClass.Infinity || y.Class == FloatClass.Infinity;
        bool zero = x.Class == FloatClass.Zero || y.Class == FloatClass.Zero;
        if (infinity && zero)
            return Invalid(ref status);
        if (RaiseDenormal(x, y, ref status))
            return a;
        if (infinity)
            return Infinity(sign);
        if (zero)
            return SignedZero(sign);
        return Round(Exact.Multiply(x, y), status.X87Precision, ref status);
    }

    public static F80 Divide(F80 a, F80 b, ref FloatStatus status)
    {
        if (a.IsSpecial || b.IsSpecial)
            return PropagateNaN(a, b, ref status);
        Unpacked x = a.Unpack();
        Unpacked y = b.Unpack();
        bool sign = x.Sign ^ y.Sign;
        if (x.Class == y.Class && x.Class != FloatClass.Finite)
            return Invalid(ref status);
        if (y.Class == FloatClass.Zero && x.Class == FloatClass.Finite)
        {
            status.Raise(FloatExceptions.ZeroDivide);
            return Infinity(sign);
        }
        if (RaiseDenormal(x, y, ref status))
            return a;
        if (x.Class == FloatClass.Infinity || y.Class == FloatClass.Zero)
            return Infinity(sign);
        if (y.Class == FloatClass.Infinity || x.Class == FloatClass.Zero)
            return SignedZero(sign);
        return Round(Exact.Divide(x, y), status.X87Precision, ref status);
    }

    public static F80 SquareRoot(F80 a, ref FloatStatus status)
    {
        if (a.IsSpecial)
            return PropagateNaN(a, ref status);
        Unpacked x = a.Unpack();
        if (x.Class == FloatClass.Zero)
            return a;
        if (x.Sign)
            return Invalid(ref status);
        if (RaiseDenormal(x, x, ref status))
            return a;
        if (x.Class == FloatClass.Infinity)
            return a;
        return Round(Exact.SquareRoot(x), status.X87Precision, ref status);
    }

    /// <summary>FCOM (<paramref name="signalQuiet"/>) and FUCOM: a quiet NaN is invalid only for the former.</summary>
    public static FloatRelation Compare(F80 a, F80 b, bool signalQuiet, ref FloatStatus status)
    {
        if (a.IsSpecial || b.IsSpecial)
        {
            if (signalQuiet || a.IsUnsupported || b.IsUnsupported || a.IsSignalingNaN || b.IsSignalingNaN)
                status.Raise(FloatExceptions.Invalid);
            return FloatRelation.Unordered;
        }
        // Even unmasked, the answer is delivered with the exception.
        if (a.IsDenormal || b.IsDenormal || status.MemoryOperandDenormal)
            status.Raise(FloatExceptions.Denormal);
        if (a.IsZero && b.IsZero)
            return FloatRelation.Equal;
        if (a.Sign != b.Sign)
            return a.Sign ? FloatRelation.Less : FloatRelation.Greater;
        // A pseudo-denormal has the value of exponent 1 with the same significand.
        int ea = Math.Max(a.BiasedExponent, 1), eb = Math.Max(b.BiasedExponent, 1);
        int order = ea != eb ? ea.CompareTo(eb) : a.Significand.CompareTo(b.Significand);
        if (a.Sign)
            order = -order;
        return order < 0 ? FloatRelation.Less : order > 0 ? FloatRelation.Greater : FloatRelation.Equal;
    }

    /// <summary>FRNDINT.</summary>
    public static F80 RoundToIntegral(F80 a, ref FloatStatus status)
    {
        if (a.IsSpecial)
            return PropagateNaN(a, ref status);
        Unpacked x = a.Unpack();
        if (x.Class != FloatClass.Finite)
            return a;
        if (RaiseDenormal(x, x, ref status))
            return a;
        if (x.Exponent >= 63)
            return a;
        Exact.ToInteger(x, status.Rounding, out ulong magnitude, out bool inexact, out bool up);
        if (inexact)
            status.Raise(FloatExceptions.Precision);
        status.RoundedUp = up;
        return FromMagnitude(magnitude, x.Sign);
    }

    private static F80 FromMagnitude(ulong magnitude, bool sign)
    {
        Unpacked r = Exact.FromInteger(magnitude, sign);
        return r.Class == FloatClass.Zero
            ? SignedZero(sign)
            : new F80((ushort)((sign ? 0x8000 : 0) | (r.Exponent + Bias)), r.Significand);
    }

    /// <summary>FSCALE: a * 2^trunc(b) (SDM FSCALE, table 3-41).</summary>
    public static F80 Scale(F80 a, F80 b, ref FloatStatus status)
    {
        if (a.IsSpecial || b.IsSpecial)
            return PropagateNaN(a, b, ref status);
        Unpacked x = a.Unpack();
        Unpacked y = b.Unpack();
        if (y.Class == FloatClass.Infinity)
        {
            if (x.Class == (y.Sign ? FloatClass.Infinity : FloatClass.Zero))
                return Invalid(ref status);
            if (RaiseDenormal(x, x, ref status))
                return a;
            return y.Sign ? SignedZero(x.Sign) : Infinity(x.Sign);
        }
        if (RaiseDenormal(x, y, ref status))
            return a;
        if (x.Class != FloatClass.Finite)
            return a;
        int scale = 0;
        if (y.Class == FloatClass.Finite && y.Exponent >= 0)
        {
            // Beyond 2^17 every result overflows or underflows massively, whatever the exact scale.
            scale = y.Exponent > 17 ? 1 << 18 : (int)(y.Significand >> (63 - y.Exponent));
            if (y.Sign)
                scale = -scale;
        }
        Intermediate r = Exact.From(x);
        r.Exponent += scale;
        return Round(r, 64, ref status);
    }

    /// <summary>FXTRACT: the significand is returned (the new ST(0)), the exponent goes to <paramref name="exponent"/> (the new ST(1)).</summary>
    public static F80 Extract(F80 a, out F80 exponent, ref FloatStatus status)
    {
        if (a.IsSpecial)
            return exponent = PropagateNaN(a, ref status);
        Unpacked x = a.Unpack();
        if (x.Class == FloatClass.Zero)
        {
            status.Raise(FloatExceptions.ZeroDivide);
            exponent = Infinity(true);
            return a;
        }
        if (x.Class == FloatClass.Infinity)
        {
            exponent = Infinity(false);
            return a;
        }
        exponent = FromMagnitude((ulong)Math.Abs(x.Exponent), x.Exponent < 0);
        if (RaiseDenormal(x, x, ref status))
            return a;
        return new F80((ushort)((x.Sign ? 0x8000 : 0) | Bias), x.Significand);
    }

    /// <summary>
    /// FPREM and FPREM1 (<paramref name="nearest"/>). When the exponents are 64 or more apart only part of the reduction is
    /// done and <paramref name="incomplete"/> is C2; else <paramref name="quotient"/> holds the low quotient bits
    /// (bit 2 is C0, bit 1 is C3, bit 0 is C1). The result is exact.
    /// </summary>
    public static F80 Remainder(F80 a, F80 b, bool nearest, out int quotient, out bool incomplete, ref FloatStatus status)
    {
        quotient = 0;
        incomplete = false;
        if (a.IsSpecial || b.IsSpecial)
            return PropagateNaN(a, b, ref status);
        Unpacked x = a.Unpack();
        Unpacked y = b.Unpack();
        if (x.Class == FloatClass.Infinity || y.Class == FloatClass.Zero)
            return Invalid(ref status);
        if (RaiseDenormal(x, y, ref status))
            return a;
        if (x.Class == FloatClass.Zero)
            return a;
        int difference = x.Exponent - y.Exponent;
        if (y.Class == FloatClass.Infinity || difference < (nearest ? -1 : 0))
            return Round(Exact.From(x), 64, ref status);

        int step = difference;
        if (difference >= 64)
        {
            // SDM: the reduction takes off N exponent bits, N between 32 and 63.
            incomplete = true;
            step = 32 + (difference & 31);
        }
        bool sign = x.Sign;
        int exponent = y.Exponent + difference - step;
        ulong remainder;
        ulong q = 0;
        if (difference < 0)
        {
            // |a| is between a quarter of |b| and |b|: the quotient rounds to 0 or 1.
            UInt128 twice = (UInt128)x.Significand;
            if (twice <= y.Significand)
                return Round(Exact.From(x), 64, ref status);
            // |b| - |a|, in units of a's last place; below 2^63 because |a| is more than half of |b|.
            remainder = (ulong)((UInt128)y.Significand * 2 - x.Significand);
            sign = !sign;
            q = 1;
            exponent = x.Exponent;
        }
        else
        {
            UInt128 dividend = (UInt128)x.Significand << step;
            UInt128 wide = dividend / y.Significand;
            q = (ulong)wide;
            remainder = (ulong)(dividend - wide * y.Significand);
            if (nearest && !incomplete)
            {
                ulong rest = y.Significand - remainder;
                if (remainder > rest || (remainder == rest && (q & 1) != 0))
                {
                    remainder = rest;
                    sign = !sign;
                    q++;
                }
            }
        }
        quotient = incomplete ? 0 : (int)q & 7;
        if (remainder == 0)
            return SignedZero(x.Sign);
        int shift = BitOperations.LeadingZeroCount(remainder);
        Intermediate r = default;
        r.Sign = sign;
        r.High = remainder << shift;
        r.Exponent = exponent - shift;
        return Round(r, 64, ref status);
    }
}
