using System.Numerics;

namespace Trapline.Cpu.Interpreter.Float;

/// <summary>
/// A number with a 128-bit significand and an unbounded exponent, <c>Significand * 2^(Exponent - 127)</c>: twice what x87
/// keeps, so that a transcendental function computed in it (relative error below 2^-118) rounds to the correctly rounded
/// 64-bit result but for one argument in about 2^54.
/// </summary>
/// <remarks>Operations truncate. A zero has a zero significand; its exponent means nothing.</remarks>
internal readonly struct Wide(bool sign, int exponent, UInt128 significand)
{
    public readonly UInt128 Significand = significand;
    public readonly int Exponent = exponent;
    public readonly bool Sign = sign;

    public static readonly Wide One = new(false, 0, UInt128.One << 127);
    public static readonly Wide Ln2 = Constant(-1, 0xB17217F7D1CF79AB, 0xC9E3B39803F2F6AF);
    public static readonly Wide Log2E = Constant(0, 0xB8AA3B295C17F0BB, 0xBE87FED0691D3E89);
    public static readonly Wide Pi = Constant(1, 0xC90FDAA22168C234, 0xC4C6628B80DC1CD1);

    /// <summary>1/n for the series; index 0 is unused.</summary>
    private static readonly Wide[] Reciprocals = [.. Enumerable.Range(0, 64).Select(n => n == 0 ? default : Divide(One, FromInteger((ulong)n, false)))];

    /// <summary>atan(n/16), n from 0 to 16.</summary>
    private static readonly Wide[] ArcTangents =
    [
        default,
        Constant(-5, 0xFFAADDB967EF4E36, 0xCB2792DC0E2E0D51),
        Constant(-4, 0xFEADD4D5617B6E32, 0xC897989F3E888EF8),
        Constant(-3, 0xBDCBDA5E72D81134, 0x7B0B4F881C9C7488),
        Constant(-3, 0xFADBAFC96406EB15, 0x6DC79EF5F7A217E6),
        Constant(-2, 0x9B13B9B83F5E5E69, 0xC5ABB498D27AF328),
        Constant(-2, 0xB7B0CA0F26F78473, 0x8AA32122DCFE4483),
        Constant(-2, 0xD327761E611FE5B6, 0x427C95E9001E7136),
        Constant(-2, 0xED63382B0DDA7B45, 0x6FE445ECBC3A8D03),
        Constant(-1, 0x832BF4A6D9867E2A, 0x4B6A09CB61A515C1),
        Constant(-1, 0x8F005D5EF7F59F9B, 0x5C835E1665C43748),
        Constant(-1, 0x9A2F80E671BDDA20, 0x4226F8E2204FF3BD),
        Constant(-1, 0xA4BC7D1934F70924, 0x19A87F2A457DAC9F),
        Constant(-1, 0xAEAC4C38B4D8C080, 0x14725E2F3E52070A),
        Constant(-1, 0xB8053E2BC2319E73, 0xCB2DA55210A4443D),
        Constant(-1, 0xC0CE85B8AC526640, 0x89DD62C46E92FA25),
        Constant(-1, 0xC90FDAA22168C234, 0xC4C6628B80DC1CD1),
    ];

    public bool IsZero => Significand == UInt128.Zero;

    private static Wide Constant(int exponent, ulong high, ulong low) => new(false, exponent, new UInt128(high, low));

    public static Wide From(in Unpacked x) => x.Class == FloatClass.Zero ? default : new(x.Sign, x.Exponent, new UInt128(x.Significand, 0));

    public static Wide FromInteger(ulong magnitude, bool sign) => From(Exact.FromInteger(magnitude, sign));

    /// <summary>An unsigned integer times 2^<paramref name="scale"/>.</summary>
    public static Wide FromInteger(UInt128 magnitude, bool sign, int scale)
    {
        if (magnitude == UInt128.Zero)
            return default;
        int shift = LeadingZeros(magnitude);
        return new Wide(sign, 127 - shift + scale, magnitude << shift);
    }

    public Wide Negate() => new(!Sign, Exponent, Significand);

    public Wide Abs() => new(false, Exponent, Significand);

    /// <summary>Times 2^n.</summary>
    public Wide Scale(int n) => new(Sign, Exponent + n, Significand);

    /// <summary>The neighbour toward zero: says "a little less" to directed rounding when the difference is below the last bit.</summary>
    public Wide TowardZero()
    {
        UInt128 less = Significand - 1;
        return less >> 127 != UInt128.Zero ? new Wide(Sign, Exponent, less) : new Wide(Sign, Exponent - 1, UInt128.MaxValue);
    }

    /// <summary>The neighbour away from zero.</summary>
    public Wide AwayFromZero() => Significand == UInt128.MaxValue
        ? new Wide(Sign, Exponent + 1, UInt128.One << 127)
        : new Wide(Sign, Exponent, Significand + 1);

    public static Wide operator +(in Wide x, in Wide y)
    {
        if (x.IsZero)
            return y;
        if (y.IsZero)
            return x;
        bool xIsLarger = x.Exponent > y.Exponent || (x.Exponent == y.Exponent && x.Significand >= y.Significand);
        Wide large = xIsLarger ? x : y;
        Wide small = xIsLarger ? y : x;
        int distance = large.Exponent - small.Exponent;
        UInt128 b = distance > 127 ? UInt128.Zero : small.Significand >> distance;
        if (large.Sign == small.Sign)
        {
            UInt128 sum = large.Significand + b;
            return sum >= b
                ? new Wide(large.Sign, large.Exponent, sum)
                : new Wide(large.Sign, large.Exponent + 1, sum >> 1 | UInt128.One << 127);
        }
        UInt128 difference = large.Significand - b;
        if (difference == UInt128.Zero)
            return default;
        int shift = LeadingZeros(difference);
        return new Wide(large.Sign, large.Exponent - shift, difference << shift);
    }

    public static Wide operator -(in Wide x, in Wide y) => x + y.Negate();

    public static Wide operator *(in Wide x, in Wide y)
    {
        if (x.IsZero || y.IsZero)
            return default;
        ulong xh = (ulong)(x.Significand >> 64), xl = (ulong)x.Significand;
        ulong yh = (ulong)(y.Significand >> 64), yl = (ulong)y.Significand;
        UInt128 low = (UInt128)xl * yl;
        UInt128 middle1 = (UInt128)xh * yl + (low >> 64);
        UInt128 middle2 = (UInt128)xl * yh + (ulong)middle1;
        UInt128 high = (UInt128)xh * yh + (middle1 >> 64) + (middle2 >> 64);
        return high >> 127 != UInt128.Zero
            ? new Wide(x.Sign ^ y.Sign, x.Exponent + y.Exponent + 1, high)
            : new Wide(x.Sign ^ y.Sign, x.Exponent + y.Exponent, high << 1 | (ulong)middle2 >> 63);
    }

    /// <summary>x / y, y not zero, by long division.</summary>
    public static Wide Divide(in Wide x, in Wide y)
    {
        if (x.IsZero)
            return default;
        int exponent = x.Exponent - y.Exponent;
        UInt128 remainder = x.Significand;
        UInt128 divisor = y.Significand;
        UInt128 quotient = UInt128.Zero;
        bool carry = false;
        if (remainder < divisor)
        {
            carry = true;
            remainder <<= 1;
            exponent--;
        }
        for (int i = 0; i < 128; i++)
        {
            quotient <<= 1;
            if (carry || remainder >= divisor)
            {
                remainder -= divisor;
                quotient |= UInt128.One;
            }
            carry = remainder >> 127 != UInt128.Zero;
            remainder <<= 1;
        }
        return new Wide(x.Sign ^ y.Sign, exponent, quotient);
    }

    /// <summary>The form <see cref="F80"/> rounds. The result is taken to be inexact.</summary>
    public Intermediate ToIntermediate()
    {
        Intermediate r = default;
        r.Sign = Sign;
        r.IsZero = IsZero;
        r.Exponent = Exponent;
        r.High = (ulong)(Significand >> 64);
        r.Low = (ulong)Significand | 1;
        return r;
    }

    /// <summary>e^t - 1 for |t| of at most ln 2, by its Taylor series; the relative error stays small near 0.</summary>
    public static Wide ExponentialMinus1(in Wide t)
    {
        Wide sum = One;
        for (int k = 33; k >= 2; k--)
            sum = One + t * Reciprocals[k] * sum;
        return t * sum;
    }

    /// <summary>log2((1 + s) / (1 - s)) for |s| of at most 0.18: 2/ln 2 (s + s^3/3 + s^5/5 ...).</summary>
    private static Wide Log2OfRatio(in Wide s)
    {
        Wide square = s * s;
        Wide sum = Reciprocals[55];
        for (int k = 53; k >= 1; k -= 2)
            sum = Reciprocals[k] + square * sum;
        return s * sum * Log2E.Scale(1);
    }

    /// <summary>log2(x) for positive x, good relatively near x = 1 too.</summary>
    public static Wide Log2(in Wide x)
    {
        int exponent = x.Exponent;
        Wide m = new(false, 0, x.Significand);
        // Above the square root of 2: 0xB504F333F9DE6484 / 2^63.
        if ((ulong)(x.Significand >> 64) >= 0xB504F333F9DE6484)
        {
            m = m.Scale(-1);
            exponent++;
        }
        return FromInteger((ulong)Math.Abs(exponent), exponent < 0) + Log2OfRatio(Divide(m - One, m + One));
    }

    /// <summary>log2(1 + x) for x above -1, good relatively near x = 0.</summary>
    public static Wide Log2OfOnePlus(in Wide x) => x.IsZero || x.Exponent < -2
        ? Log2OfRatio(Divide(x, x + One.Scale(1)))
        : Log2(x + One);

    /// <summary>sin(r) for |r| up to pi/4.</summary>
    public static Wide Sine(in Wide r)
    {
        Wide square = r * r;
        Wide sum = One;
        for (int k = 32; k >= 2; k -= 2)
            sum = One - square * Reciprocals[k] * Reciprocals[k + 1] * sum;
        return r * sum;
    }

    /// <summary>cos(r) for |r| up to pi/4.</summary>
    public static Wide Cosine(in Wide r)
    {
        Wide square = r * r;
        Wide sum = One;
        for (int k = 31; k >= 1; k -= 2)
            sum = One - square * Reciprocals[k] * Reciprocals[k + 1] * sum;
        return sum;
    }

    /// <summary>atan(t) for 0 ≤ t ≤ 1: atan(n/16) + atan((t - n/16) / (1 + t n/16)), the second by its series.</summary>
    public static Wide ArcTangent(in Wide t)
    {
        if (t.IsZero)
            return t;
        // n = round(16 t)
        int n = t.Exponent < -5 ? 0 : (int)(t.Significand >> (122 - t.Exponent)) + 1 >> 1;
        Wide u = t;
        if (n != 0)
        {
            Wide c = FromInteger((ulong)n, false).Scale(-4);
            u = Divide(t - c, One + t * c);
        }
        Wide square = u * u;
        Wide sum = Reciprocals[29];
        for (int k = 27; k >= 1; k -= 2)
            sum = Reciprocals[k] - square * sum;
        return ArcTangents[n] + u * sum;
    }

    private static int LeadingZeros(UInt128 value)
    {
        var high = (ulong)(value >> 64);
        return high != 0 ? BitOperations.LeadingZeroCount(high) : 64 + BitOperations.LeadingZeroCount((ulong)value);
    }
}
