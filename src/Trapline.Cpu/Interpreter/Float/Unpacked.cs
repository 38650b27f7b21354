using System.Numerics;
using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter.Float;

/// <summary>What kind of number an encoding stands for; NaNs are dealt with on the encodings themselves.</summary>
internal enum FloatClass
{
    Zero,
    Finite,
    Infinity,
}

/// <summary>
/// A number taken out of its encoding: the form all formats meet in. A finite one is
/// <c>Significand * 2^(Exponent - 63)</c> with the significand's top bit set, denormals included.
/// </summary>
internal struct Unpacked
{
    public ulong Significand;
    public int Exponent;
    public FloatClass Class;
    public bool Sign;

    /// <summary>The encoding was denormal and DAZ did not turn it into zero.</summary>
    public bool Denormal;
}

/// <summary>
/// A result before rounding: <c>High:Low * 2^(Exponent - 127)</c>, the top bit of High set; Low's last bit is "sticky", so
/// that rounding to 64 bits or fewer sees exactly what the infinitely precise result would show it.
/// </summary>
internal struct Intermediate
{
    public ulong High;
    public ulong Low;
    public int Exponent;
    public bool Sign;
    public bool IsZero;
}

/// <summary>The arithmetic of finite numbers, once for all formats (IEEE 754-2019 clause 5.4, computed exactly, not rounded).</summary>
internal static class Exact
{
    /// <summary>x + y for zero or finite operands. An exact zero from unlike signs is negative only when rounding down (IEEE 754 6.3).</summary>
    public static Intermediate Add(in Unpacked x, in Unpacked y, RoundingMode rounding)
    {
        Intermediate r = default;
        if (x.Class == FloatClass.Zero || y.Class == FloatClass.Zero)
        {
            if (x.Class == y.Class)
            {
                r.IsZero = true;
                r.Sign = x.Sign == y.Sign ? x.Sign : rounding == RoundingMode.Down;
                return r;
            }
            return From(x.Class == FloatClass.Zero ? y : x);
        }

        return (x.Exponent > y.Exponent || (x.Exponent == y.Exponent && x.Significand >= y.Significand))
            ? AddSmaller(x, y, rounding)
            : AddSmaller(y, x, rounding);
    }

    private static Intermediate AddSmaller(in Unpacked large, in Unpacked small, RoundingMode rounding)
    {
        Intermediate r = default;
        r.Sign = large.Sign;
        r.Exponent = large.Exponent;
        int distance = large.Exponent - small.Exponent;
        ulong b = small.Significand;
        ulong high, low;
        if (distance < 64)
        {
            high = b >> distance;
            low = distance == 0 ? 0 : b << (64 - distance);
        }
        else
        {
            high = 0;
            low = distance == 64 ? b : distance < 128 ? b >> (distance - 64) | (b << (128 - distance) != 0 ? 1ul : 0) : 1;
        }
        if (large.Sign == small.Sign)
        {
            high += large.Significand;
            if (high < large.Significand)
            {
                low = low >> 1 | (low & 1) | high << 63;
                high = high >> 1 | 1ul << 63;
                r.Exponent++;
            }
        }
        else
        {
            high = large.Significand - high - (low != 0 ? 1ul : 0);
            low = 0 - low;
            if ((long)high >= 0)
            {
                if (high == 0)
                {
                    if (low == 0)
                    {
                        r.IsZero = true;
                        r.Sign = rounding == RoundingMode.Down;
                        return r;
                    }
                    high = low;
                    low = 0;
                    r.Exponent -= 64;
                }
                int shift = BitOperations.LeadingZeroCount(high);
                if (shift != 0)
                {
                    high = high << shift | low >> (64 - shift);
                    low <<= shift;
                    r.Exponent -= shift;
                }
            }
        }
        r.High = high;
        r.Low = low;
        return r;
    }

    /// <summary>a ± b for aligned magnitudes with a at least b; both have their point after the top bit of exponent <paramref name="exponent"/>.</summary>
    private static Intermediate Combine(UInt128 a, UInt128 b, int exponent, bool signA, bool signB, RoundingMode rounding)
    {
        Intermediate r = default;
        r.Sign = signA;
        UInt128 sum;
        if (signA == signB)
        {
            sum = a + b;
            if (sum < a)
            {
                sum = sum >> 1 | (sum & 1) | (UInt128.One << 127);
                exponent++;
            }
        }
        else
        {
            sum = a - b;
            if (sum == UInt128.Zero)
            {
                r.IsZero = true;
                r.Sign = rounding == RoundingMode.Down;
                return r;
            }
            int shift = LeadingZeros(sum);
            sum <<= shift;
            exponent -= shift;
        }
        r.High = (ulong)(sum >> 64);
        r.Low = (ulong)sum;
        r.Exponent = exponent;
        return r;
    }

    /// <summary>x * y for finite, non-zero operands; exact.</summary>
    public static Intermediate Multiply(in Unpacked x, in Unpacked y)
    {
        Intermediate r = default;
        r.Sign = x.Sign ^ y.Sign;
        r.High = Math.BigMul(x.Significand, y.Significand, out r.Low);
        r.Exponent = x.Exponent + y.Exponent + 1;
        if ((long)r.High >= 0)
        {
            r.High = r.High << 1 | r.Low >> 63;
            r.Low <<= 1;
            r.Exponent--;
        }
        return r;
    }

    /// <summary>
    /// x * y + z for formats of at most 53 bits (so that the product leaves 22 spare bits below it, which makes the sticky
    /// bit of a shifted operand harmless). x and y are finite and non-zero or zero; z too.
    /// </summary>
    public static Intermediate MultiplyAdd(in Unpacked x, in Unpacked y, in Unpacked z, RoundingMode rounding)
    {
        if (x.Class == FloatClass.Zero || y.Class == FloatClass.Zero)
        {
            Unpacked zero = default;
            zero.Sign = x.Sign ^ y.Sign;
            return Add(zero, z, rounding);
        }
        Intermediate product = Multiply(x, y);
        if (z.Class == FloatClass.Zero)
            return product;
        UInt128 p = new(product.High, product.Low);
        UInt128 c = new(z.Significand, 0);
        if (product.Exponent > z.Exponent || (product.Exponent == z.Exponent && p >= c))
            return Combine(p, ShiftRightSticky(c, product.Exponent - z.Exponent), product.Exponent, product.Sign, z.Sign, rounding);
        return Combine(c, ShiftRightSticky(p, z.Exponent - product.Exponent), z.Exponent, z.Sign, product.Sign, rounding);
    }

    /// <summary>x / y for finite, non-zero operands.</summary>
    public static Intermediate Divide(in Unpacked x, in Unpacked y)
    {
        Intermediate r = default;
        r.Sign = x.Sign ^ y.Sign;
        ulong divisor = y.Significand;
        UInt128 dividend;
        if (x.Significand < divisor)
        {
            dividend = new UInt128(x.Significand, 0);
            r.Exponent = x.Exponent - y.Exponent - 1;
        }
        else
        {
            dividend = new UInt128(x.Significand >> 1, x.Significand << 63);
            r.Exponent = x.Exponent - y.Exponent;
        }
        r.High = (ulong)(dividend / divisor);
        ulong remainder = (ulong)(dividend - (UInt128)r.High * divisor);
        if (remainder != 0)
        {
            // The next quotient bit is 1 when twice the remainder reaches the divisor.
            bool half = remainder >= divisor - remainder;
            r.Low = (half ? 1ul << 63 : 0) | (half && remainder == divisor - remainder ? 0ul : 1ul);
        }
        return r;
    }

    /// <summary>The square root of a finite, positive, non-zero operand.</summary>
    public static Intermediate SquareRoot(in Unpacked x)
    {
        Intermediate r = default;
        bool odd = (x.Exponent & 1) != 0;
        r.Exponent = x.Exponent >> 1;
        UInt128 n = odd ? new UInt128(x.Significand, 0) : new UInt128(x.Significand >> 1, x.Significand << 63);
        ulong root = IntegerSquareRoot(n);
        UInt128 remainder = n - (UInt128)root * root;
        r.High = root;
        // (root + 1/2)^2 = root^2 + root + 1/4: never hit exactly by an integer.
        r.Low = (remainder > root ? 1ul << 63 : 0) | (remainder != UInt128.Zero ? 1ul : 0);
        return r;
    }

    /// <summary>floor(sqrt(n)) for n of at least 2^126: a double-precision estimate, one Newton step, then an exact correction.</summary>
    private static ulong IntegerSquareRoot(UInt128 n)
    {
        double estimate = Math.Sqrt((double)(ulong)(n >> 64)) * 4294967296.0;
        ulong first = estimate >= 18446744073709551615.0 ? ulong.MaxValue : (ulong)estimate;
        UInt128 next = (first + n / first) >> 1;
        if (next > ulong.MaxValue)
            next = ulong.MaxValue;
        while (next * next > n)
            next--;
        while (next < ulong.MaxValue && (next + 1) * (next + 1) <= n)
            next++;
        return (ulong)next;
    }

    public static Intermediate From(in Unpacked x)
    {
        Intermediate r = default;
        r.High = x.Significand;
        r.Exponent = x.Exponent;
        r.Sign = x.Sign;
        r.IsZero = x.Class == FloatClass.Zero;
        return r;
    }

    /// <summary>An integer as an unpacked number.</summary>
    public static Unpacked FromInteger(ulong magnitude, bool sign)
    {
        Unpacked r = default;
        if (magnitude == 0)
            return r;
        int shift = BitOperations.LeadingZeroCount(magnitude);
        r.Class = FloatClass.Finite;
        r.Sign = sign;
        r.Significand = magnitude << shift;
        r.Exponent = 63 - shift;
        return r;
    }

    /// <summary>
    /// Rounds a finite number to an integer magnitude of at most 64 bits; false when it does not fit in 64 bits.
    /// <paramref name="inexact"/> and <paramref name="up"/> describe the rounding.
    /// </summary>
    public static bool ToInteger(in Unpacked x, RoundingMode rounding, out ulong magnitude, out bool inexact, out bool up)
    {
        inexact = up = false;
        magnitude = 0;
        if (x.Class == FloatClass.Zero)
            return true;
        if (x.Exponent > 63)
            return false;
        UInt128 v = ShiftRightSticky(new UInt128(x.Significand, 0), 63 - x.Exponent);
        magnitude = (ulong)(v >> 64);
        ulong fraction = (ulong)v;
        if (fraction == 0)
            return true;
        inexact = true;
        up = RoundsUp(rounding, x.Sign, (magnitude & 1) != 0, fraction >> 63 != 0, fraction << 1 != 0);
        if (!up)
            return true;
        magnitude++;
        return magnitude != 0;
    }

    /// <summary>Whether rounding away from zero is due, given the last kept bit, the first dropped one and the rest (SDM Vol.1 4.8.4).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool RoundsUp(RoundingMode rounding, bool sign, bool last, bool guard, bool sticky) => rounding switch
    {
        RoundingMode.Nearest => guard && (sticky || last),
        RoundingMode.Down => sign && (guard || sticky),
        RoundingMode.Up => !sign && (guard || sticky),
        _ => false,
    };

    /// <summary>
    /// Rounds High:Low to its top <paramref name="precision"/> bits, leaving them at the top of the returned word. A carry out
    /// of the top returns the top bit alone and sets <paramref name="carry"/>.
    /// </summary>
    public static ulong RoundSignificand(
        ulong high, ulong low, int precision, RoundingMode rounding, bool sign, out bool inexact, out bool up, out bool carry)
    {
        int drop = 64 - precision;
        ulong unit = 1ul << drop;
        ulong dropped = high & (unit - 1);
        bool guard, sticky;
        if (drop == 0)
        {
            guard = low >> 63 != 0;
            sticky = low << 1 != 0;
        }
        else
        {
            guard = (dropped >> (drop - 1)) != 0;
            sticky = (dropped & ((unit >> 1) - 1)) != 0 || low != 0;
        }
        inexact = guard || sticky;
        up = inexact && RoundsUp(rounding, sign, (high & unit) != 0, guard, sticky);
        high -= dropped;
        carry = false;
        if (up)
        {
            bool hadTop = (long)high < 0;
            high += unit;
            if (hadTop && (long)high >= 0)
            {
                carry = true;
                high = 1ul << 63;
            }
        }
        return high;
    }

    /// <summary>Shifts right; any bit lost sets the last one.</summary>
    public static UInt128 ShiftRightSticky(UInt128 value, int count)
    {
        if (count <= 0)
            return value;
        if (count >= 128)
            return value == UInt128.Zero ? UInt128.Zero : UInt128.One;
        UInt128 shifted = value >> count;
        return shifted << count == value ? shifted : shifted | UInt128.One;
    }

    private static int LeadingZeros(UInt128 value)
    {
        ulong high = (ulong)(value >> 64);
        return high != 0 ? BitOperations.LeadingZeroCount(high) : 64 + BitOperations.LeadingZeroCount((ulong)value);
    }
}
