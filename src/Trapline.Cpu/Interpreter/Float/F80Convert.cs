
namespace Trapline.Cpu.Interpreter.Float;

/// <summary>Between registers and the formats x87 keeps in memory (SDM Vol.1 8.1.4, 8.3.3).</summary>
public readonly partial struct F80
{
    /// <summary>FLD m32. The register is loaded even when a denormal operand is reported unmasked, as chips do; not on invalid.</summary>
    public static F80 FromF32(uint a, ref FloatStatus status) => Load(OperandF32(a, ref status), ref status);

    /// <summary>FLD m64, in the manner of <see cref="FromF32"/>.</summary>
    public static F80 FromF64(ulong a, ref FloatStatus status) => Load(OperandF64(a, ref status), ref status);

    /// <summary>
    /// The memory operand of FADD m32 and its kin: widened without raising anything, since the order of exceptions depends on
    /// the other operand as well. A signaling NaN stays one; a denormal is remembered in <paramref name="status"/>.
    /// </summary>
    public static F80 OperandF32(uint a, ref FloatStatus status) => FromBinary<Single32>(a, ref status);

    /// <summary>The memory operand of FADD m64 and its kin.</summary>
    public static F80 OperandF64(ulong a, ref FloatStatus status) => FromBinary<Double64>(a, ref status);

    private static F80 Load(F80 a, ref FloatStatus status)
    {
        if (status.MemoryOperandDenormal)
            status.Raise(FloatExceptions.Denormal);
        if (!a.IsSignalingNaN)
            return a;
        status.Raise(FloatExceptions.Invalid);
        return Quiet(a);
    }

    private static F80 FromBinary<T>(ulong a, ref FloatStatus status) where T : struct, IBinaryFormat
    {
        bool sign = (a & Binary<T>.SignBit) != 0;
        if (Binary<T>.IsNaN(a))
            return new F80((ushort)(sign ? 0xFFFF : 0x7FFF), a << (64 - Binary<T>.FractionBits) >> 1 | IntegerBit);
        Unpacked x = Binary<T>.Unpack(a, false);
        if (x.Class == FloatClass.Infinity)
            return Infinity(sign);
        if (x.Class == FloatClass.Zero)
            return SignedZero(sign);
        status.MemoryOperandDenormal = x.Denormal;
        return new F80((ushort)((sign ? 0x8000 : 0) | (x.Exponent + Bias)), x.Significand);
    }

    public static F80 FromInt16(short a) => FromInt64(a);

    public static F80 FromInt32(int a) => FromInt64(a);

    public static F80 FromInt64(long a) => FromMagnitude(a < 0 ? (ulong)-a : (ulong)a, a < 0);

    /// <summary>FST m32. Nothing is stored when invalid, overflow or underflow is raised unmasked.</summary>
    public static uint ToF32(F80 a, ref FloatStatus status) => (uint)ToBinary<Single32>(a, ref status);

    /// <summary>FST m64.</summary>
    public static ulong ToF64(F80 a, ref FloatStatus status) => ToBinary<Double64>(a, ref status);

    private static ulong ToBinary<T>(F80 a, ref FloatStatus status) where T : struct, IBinaryFormat
    {
        ulong sign = a.Sign ? Binary<T>.SignBit : 0;
        if (a.IsUnsupported)
        {
            status.Raise(FloatExceptions.Invalid);
            return Binary<T>.DefaultNaN;
        }
        if (a.IsNaN)
        {
            if (a.IsSignalingNaN)
                status.Raise(FloatExceptions.Invalid);
            return sign | Binary<T>.Infinity | Binary<T>.QuietBit | (a.Significand << 1 >> (64 - Binary<T>.FractionBits));
        }
        Unpacked x = a.Unpack();
        if (x.Class == FloatClass.Infinity)
            return sign | Binary<T>.Infinity;
        ulong r = Binary<T>.Round(Exact.From(x), ref status);
        FloatExceptions notStored = status.Unmasked & (FloatExceptions.Overflow | FloatExceptions.Underflow);
        if (notStored != 0)
        {
            // Nothing was rounded into memory, so nothing is said about its precision.
            status.Raised &= ~FloatExceptions.Precision;
            status.RoundedUp = false;
        }
        else if ((status.Raised & FloatExceptions.Overflow) != 0)
            status.RoundedUp = (r & ~Binary<T>.SignBit) == Binary<T>.Infinity;
        return r;
    }

    /// <summary>FIST m16.</summary>
    public static short ToInt16(F80 a, ref FloatStatus status) => (short)ToInteger(a, 16, status.Rounding, ref status);

    public static int ToInt32(F80 a, ref FloatStatus status) => (int)ToInteger(a, 32, status.Rounding, ref status);

    public static long ToInt64(F80 a, ref FloatStatus status) => ToInteger(a, 64, status.Rounding, ref status);

    /// <summary>FISTTP m16.</summary>
    public static short ToInt16Truncated(F80 a, ref FloatStatus status) => (short)ToInteger(a, 16, RoundingMode.TowardZero, ref status);

    public static int ToInt32Truncated(F80 a, ref FloatStatus status) => (int)ToInteger(a, 32, RoundingMode.TowardZero, ref status);

    public static long ToInt64Truncated(F80 a, ref FloatStatus status) => ToInteger(a, 64, RoundingMode.TowardZero, ref status);

    private static long ToInteger(F80 a, int bits, RoundingMode rounding, ref FloatStatus status)
    {
        if (!a.IsSpecial)
        {
            Unpacked x = a.Unpack();
            ulong limit = 1ul << (bits - 1);
            if (x.Class != FloatClass.Infinity
                && Exact.ToInteger(x, rounding, out ulong magnitude, out bool inexact, out bool up)
                && (magnitude < limit || (x.Sign && magnitude == limit)))
            {
                if (inexact)
                    status.Raise(FloatExceptions.Precision);
                status.RoundedUp = up;
                return x.Sign ? -(long)magnitude : (long)magnitude;
            }
        }
        status.Raise(FloatExceptions.Invalid);
        return long.MinValue >> (64 - bits);
    }

    /// <summary>FBLD: 18 decimal digits in <paramref name="low"/> and the low byte of <paramref name="high"/>, the sign in its top bit.</summary>
    public static F80 FromBcd(ulong low, ushort high)
    {
        ulong magnitude = 0;
        for (int i = 1; i >= 0; i--)
            magnitude = magnitude * 10 + (ulong)(high >> (4 * i) & 15);
        for (int i = 15; i >= 0; i--)
            magnitude = magnitude * 10 + (low >> (4 * i) & 15);
        return FromMagnitude(magnitude, high >> 15 != 0);
    }

    /// <summary>FBSTP: rounded to an integer; more than 18 digits is invalid and gives the packed BCD indefinite (SDM Vol.1 4.8.3.7).</summary>
    public static (ulong Low, ushort High) ToBcd(F80 a, ref FloatStatus status)
    {
        if (!a.IsSpecial)
        {
            Unpacked x = a.Unpack();
            if (x.Class != FloatClass.Infinity
                && Exact.ToInteger(x, status.Rounding, out ulong magnitude, out bool inexact, out bool up)
                && magnitude <= 999_999_999_999_999_999)
            {
                if (inexact)
                    status.Raise(FloatExceptions.Precision);
                status.RoundedUp = up;
                ulong low = 0;
                for (int i = 0; i < 16; i++)
                {
                    low |= magnitude % 10 << (4 * i);
                    magnitude /= 10;
                }
                return (low, (ushort)((x.Sign ? 0x8000u : 0) | (uint)(magnitude / 10 << 4 | magnitude % 10)));
            }
        }
        status.Raise(FloatExceptions.Invalid);
        return (0xC000000000000000, 0xFFFF);
    }
}
