namespace Trapline.Cpu.Interpreter.Float;

/// <summary>
/// F2XM1, FYL2X, FYL2XP1, FPATAN and the trigonometric instructions (SDM Vol.1 8.3.7 to 8.3.10). Results are the correctly
/// rounded ones, under every rounding mode; the architecture asks for an error below one unit in the last place and real
/// chips miss the correct rounding now and then, each model in its own places.
/// </summary>
/// <remarks>
/// Precision control does not apply. Trigonometric arguments are reduced by the chips' own 66-bit approximation of pi
/// (SDM Vol.1 8.3.8), which decides most of the result's bits near multiples of pi/2.
/// </remarks>
public readonly partial struct F80
{
    /// <summary>pi * 2^64, truncated to 66 bits; also pi/2 * 2^65.</summary>
    private static readonly UInt128 PiBits = new(3, 0x243F6A8885A308D3);

    /// <summary>Below 2^this a function that behaves as its argument differs from it by less than a Wide can show.</summary>
    private const int TinyExponent = -62;

    private static F80 RoundWide(in Wide value, ref FloatStatus status) => Round(value.ToIntermediate(), 64, ref status);

    /// <summary>F2XM1: 2^a - 1 for a from -1 to +1. Beyond, the SDM leaves the result undefined; ours is the argument.</summary>
    public static F80 TwoToXMinus1(F80 a, ref FloatStatus status)
    {
        if (a.IsSpecial)
            return PropagateNaN(a, ref status);
        Unpacked x = a.Unpack();
        if (x.Class == FloatClass.Infinity)
            return x.Sign ? One.Negate() : a;
        if (x.Class == FloatClass.Zero)
            return a;
        if (RaiseDenormal(x, x, ref status))
            return a;
        if (x.Exponent >= 0)
        {
            // 2^1 - 1 = 1 and 2^-1 - 1 = -1/2 are exact, but chips call every computed result inexact.
            status.Raise(FloatExceptions.Precision);
            if (x.Exponent == 0 && x.Significand == IntegerBit && x.Sign)
                return new F80(0xBFFE, IntegerBit);
            return a;
        }
        return RoundWide(Wide.ExponentialMinus1(Wide.From(x) * Wide.Ln2), ref status);
    }

    /// <summary>FYL2X: y * log2(x), x in ST(0) and y in ST(1).</summary>
    public static F80 YLog2X(F80 x, F80 y, ref FloatStatus status)
    {
        if (x.IsSpecial || y.IsSpecial)
            return PropagateNaN(x, y, ref status);
        Unpacked ux = x.Unpack();
        Unpacked uy = y.Unpack();
        if (ux.Class == FloatClass.Zero)
        {
            if (uy.Class == FloatClass.Zero)
                return Invalid(ref status);
            if (uy.Class == FloatClass.Finite)
                status.Raise(FloatExceptions.ZeroDivide);
            return Infinity(!uy.Sign);
        }
        if (ux.Sign)
            return Invalid(ref status);
        bool isOne = ux.Class == FloatClass.Finite && ux.Exponent == 0 && ux.Significand == IntegerBit;
        if (ux.Class == FloatClass.Infinity ? uy.Class == FloatClass.Zero : isOne && uy.Class == FloatClass.Infinity)
            return Invalid(ref status);
        if (RaiseDenormal(ux, uy, ref status))
            return y;
        bool below1 = ux.Class == FloatClass.Finite && ux.Exponent < 0;
        if (ux.Class == FloatClass.Infinity || uy.Class == FloatClass.Infinity)
            return Infinity(uy.Sign ^ below1);
        if (uy.Class == FloatClass.Zero || isOne)
            return SignedZero(uy.Sign ^ below1);
        if (ux.Significand == IntegerBit)
        {
            // log2 of a power of two is an integer and the product may well be exact, but chips call it inexact.
            F80 product = Round(Exact.Multiply(uy, Exact.FromInteger((ulong)Math.Abs(ux.Exponent), ux.Exponent < 0)), 64, ref status);
            status.Raise(product.BiasedExponent == 0 ? FloatExceptions.Precision | FloatExceptions.Underflow : FloatExceptions.Precision);
            return product;
        }
        return RoundWide(Wide.From(uy) * Wide.Log2(Wide.From(ux)), ref status);
    }

    /// <summary>
    /// FYL2XP1: y * log2(x + 1), x in ST(0) and y in ST(1). x is to lie within ±(1 - sqrt(2)/2); beyond, the SDM leaves the
    /// result undefined and ours is the function's value, or x where it has none (as AMD's chips do).
    /// </summary>
    public static F80 YLog2XPlus1(F80 x, F80 y, ref FloatStatus status)
    {
        if (x.IsSpecial || y.IsSpecial)
            return PropagateNaN(x, y, ref status);
        Unpacked ux = x.Unpack();
        Unpacked uy = y.Unpack();
        bool sign = ux.Sign ^ uy.Sign;
        if (ux.Class == FloatClass.Infinity ? ux.Sign || uy.Class == FloatClass.Zero
            : ux.Class == FloatClass.Zero && uy.Class == FloatClass.Infinity)
        {
            return Invalid(ref status);
        }
        if (RaiseDenormal(ux, uy, ref status))
            return y;
        if (ux.Class == FloatClass.Infinity || uy.Class == FloatClass.Infinity)
            return Infinity(sign);
        if (ux.Class == FloatClass.Zero || uy.Class == FloatClass.Zero)
            return SignedZero(sign);
        if (ux.Sign && ux.Exponent >= 0)
        {
            status.Raise(FloatExceptions.Precision);
            return x;
        }
        return RoundWide(Wide.From(uy) * Wide.Log2OfOnePlus(Wide.From(ux)), ref status);
    }

    /// <summary>FPATAN: the angle of the point (x, y), x in ST(0) and y in ST(1) (SDM FPATAN, table 3-30).</summary>
    public static F80 ArcTangent(F80 x, F80 y, ref FloatStatus status)
    {
        if (x.IsSpecial || y.IsSpecial)
            return PropagateNaN(x, y, ref status);
        Unpacked ux = x.Unpack();
        Unpacked uy = y.Unpack();
        if (RaiseDenormal(ux, uy, ref status))
            return y;
        Wide angle;
        if (uy.Class == FloatClass.Zero || (ux.Class == FloatClass.Infinity && uy.Class == FloatClass.Finite))
        {
            if (!ux.Sign)
                return SignedZero(uy.Sign);
            angle = Wide.Pi;
        }
        else if (uy.Class == FloatClass.Infinity)
        {
            angle = Wide.Pi.Scale(-1);
            if (ux.Class == FloatClass.Infinity)
                angle = ux.Sign ? Wide.Pi - Wide.Pi.Scale(-2) : Wide.Pi.Scale(-2);
        }
        else if (ux.Class == FloatClass.Zero)
        {
            angle = Wide.Pi.Scale(-1);
        }
        else
        {
            Wide ax = Wide.From(ux).Abs(), ay = Wide.From(uy).Abs();
            bool steep = uy.Exponent > ux.Exponent || (uy.Exponent == ux.Exponent && uy.Significand > ux.Significand);
            Wide ratio = steep ? Wide.Divide(ax, ay) : Wide.Divide(ay, ax);
            angle = ratio.Exponent < TinyExponent ? ratio.TowardZero() : Wide.ArcTangent(ratio);
            if (steep)
                angle = Wide.Pi.Scale(-1) - angle;
            if (ux.Sign)
                angle = Wide.Pi - angle;
        }
        return RoundWide(uy.Sign ? angle.Negate() : angle, ref status);
    }

    /// <summary>FSIN. <paramref name="outOfRange"/> is C2: the argument is 2^63 or more and stays as it is.</summary>
    public static F80 Sine(F80 a, out bool outOfRange, ref FloatStatus status)
    {
        if (!Reduce(a, out F80 special, out Wide r, out int quadrant, out outOfRange, ref status))
            return special;
        return RoundWide(SineOf(r, quadrant), ref status);
    }

    /// <summary>FCOS.</summary>
    public static F80 Cosine(F80 a, out bool outOfRange, ref FloatStatus status)
    {
        if (!Reduce(a, out F80 special, out Wide r, out int quadrant, out outOfRange, ref status))
            return a.IsZero ? One : special;
        return RoundWide(SineOf(r, quadrant + 1), ref status);
    }

    /// <summary>FSINCOS: the sine is returned (it replaces ST(0)), the cosine is what is pushed.</summary>
    public static F80 SineCosine(F80 a, out F80 cosine, out bool outOfRange, ref FloatStatus status)
    {
        if (!Reduce(a, out F80 special, out Wide r, out int quadrant, out outOfRange, ref status))
        {
            cosine = a.IsZero ? One : special;
            return special;
        }
        F80 sine = RoundWide(SineOf(r, quadrant), ref status);
        cosine = RoundWide(SineOf(r, quadrant + 1), ref status);
        return sine;
    }

    /// <summary>FPTAN: the tangent (it replaces ST(0)); the instruction then pushes <see cref="One"/>, or the NaN again.</summary>
    public static F80 Tangent(F80 a, out bool outOfRange, ref FloatStatus status)
    {
        if (!Reduce(a, out F80 special, out Wide r, out int quadrant, out outOfRange, ref status))
            return special;
        Wide tangent = r.Exponent < TinyExponent ? r.AwayFromZero() : Wide.Divide(Wide.Sine(r), Wide.Cosine(r));
        if ((quadrant & 1) != 0)
            tangent = Wide.Divide(Wide.One, tangent).Negate();
        return RoundWide(tangent, ref status);
    }

    /// <summary>
    /// a = quadrant * pi/2 + r with |r| at most pi/4, exactly, for the 66-bit pi. False when there is nothing to compute and
    /// <paramref name="special"/> is the sine's answer: zero, NaN, infinity, out of range, an unmasked exception.
    /// </summary>
    private static bool Reduce(F80 a, out F80 special, out Wide r, out int quadrant, out bool outOfRange, ref FloatStatus status)
    {
        special = a;
        r = default;
        quadrant = 0;
        outOfRange = false;
        if (a.IsSpecial)
        {
            special = PropagateNaN(a, ref status);
            return false;
        }
        Unpacked x = a.Unpack();
        if (x.Class == FloatClass.Infinity)
        {
            special = Invalid(ref status);
            return false;
        }
        if (x.Class == FloatClass.Zero)
            return false;
        if (x.Exponent >= 63)
        {
            outOfRange = true;
            return false;
        }
        if (RaiseDenormal(x, x, ref status))
            return false;
        if (x.Exponent < -1)
        {
            r = Wide.From(x);
            return true;
        }
        // In units of 2^-65: the argument is an integer below 2^128, pi/2 is PiBits.
        UInt128 value = (UInt128)x.Significand << (x.Exponent + 2);
        UInt128 quotient = value / PiBits;
        UInt128 remainder = value - quotient * PiBits;
        bool sign = x.Sign;
        if (remainder > PiBits >> 1)
        {
            remainder = PiBits - remainder;
            quotient++;
            sign = !sign;
        }
        quadrant = (int)(uint)(ulong)quotient & 3;
        if (x.Sign)
            quadrant = -quadrant;
        r = Wide.FromInteger(remainder, sign, -65);
        return true;
    }

    /// <summary>sin(r + quadrant * pi/2).</summary>
    private static Wide SineOf(in Wide r, int quadrant)
    {
        Wide value = (quadrant & 1) != 0
            ? r.Exponent < TinyExponent ? Wide.One.TowardZero() : Wide.Cosine(r)
            : r.Exponent < TinyExponent ? r.TowardZero() : Wide.Sine(r);
        return (quadrant & 2) != 0 ? value.Negate() : value;
    }
}
