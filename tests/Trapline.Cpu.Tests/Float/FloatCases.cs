using System.Numerics;

namespace Trapline.Cpu.Tests.Float;

/// <summary>Deterministic operands that seek out the corners: specials, denormals, format boundaries, near-equal pairs, long runs of bits.</summary>
public sealed class FloatCases(ulong seed)
{
    private ulong _state = seed * 0x9E3779B97F4A7C15 + 1;

    /// <summary>How many cases an operation gets: few enough for every test run, or what TRAPLINE_FLOAT_CASES says.</summary>
    public static int CountPerOperation { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("TRAPLINE_FLOAT_CASES"), out int n) ? n : 1500;

    /// <summary>splitmix64.</summary>
    public ulong Next()
    {
        ulong z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        return z ^ z >> 31;
    }

    public int Below(int n) => (int)(Next() % (ulong)n);

    /// <summary>A word whose bits come in runs, or few, or plain random.</summary>
    public ulong Pattern() => Below(5) switch
    {
        0 => 0,
        1 => ulong.MaxValue << Below(64),
        2 => ulong.MaxValue >> Below(64) ^ (Below(2) == 0 ? 1ul << Below(64) : 0),
        3 => 1ul << Below(64) | 1ul << Below(64),
        _ => Next(),
    };

    /// <summary>An encoding with the given field widths.</summary>
    public ulong Encoding(int exponentBits, int fractionBits)
    {
        int max = (1 << exponentBits) - 1, bias = max >> 1;
        ulong fraction = Pattern() >> (64 - fractionBits);
        if (Below(2) == 0)
            fraction = Pattern() & ((1ul << fractionBits) - 1);
        int exponent = Below(16) switch
        {
            0 => 0,
            1 => max,
            2 => 1 + Below(3),
            3 => max - 1 - Below(3),
            4 => bias + Below(70) - 3,
            5 or 6 or 7 => bias + Below(5) - 2,
            8 => bias + fractionBits + Below(5) - 2,
            9 => Math.Clamp(bias + Below(130) - 65, 0, max),
            10 => bias / 2 + Below(7) - 3,
            11 => Math.Min(max, bias + bias / 2 + Below(7) - 3),
            12 => Math.Min(max, fractionBits + Below(7) - 3),
            _ => Below(max + 1),
        };
        if (exponent == max && Below(3) == 0)
            fraction = 0;
        if (exponent == 0 && Below(3) == 0)
            fraction = 0;
        exponent = Math.Clamp(exponent, 0, max);
        return (Next() & 1) << (exponentBits + fractionBits) | (ulong)exponent << fractionBits | fraction;
    }

    /// <summary>An encoding chosen to be awkward beside <paramref name="other"/>.</summary>
    public ulong EncodingNear(ulong other, int exponentBits, int fractionBits)
    {
        ulong sign = 1ul << (exponentBits + fractionBits);
        return Below(8) switch
        {
            0 => other ^ (Next() & 1) * sign,
            1 => other ^ sign ^ (ulong)(1 + Below(3)),
            2 => other + (ulong)Below(5) - 2 & (sign << 1) - 1,
            3 => other ^ (ulong)Below(4) << fractionBits ^ (Next() & 1) * sign,
            4 => other ^ (Pattern() & ((1ul << fractionBits) - 1)) ^ (Next() & 1) * sign,
            _ => Encoding(exponentBits, fractionBits),
        };
    }

    public (ulong Significand, ushort SignExponent) Extended()
    {
        ulong encoding = Encoding(15, 48);
        ulong significand = Pattern();
        var signExponent = (ushort)(encoding >> 48);
        int exponent = signExponent & 0x7FFF;
        // Mostly proper encodings: an integer bit where there should be one.
        bool improper = Below(24) == 0;
        significand = exponent != 0 ^ improper ? significand | 1ul << 63 : significand & ~(1ul << 63);
        if (exponent is 0x7FFF or 0 && Below(3) == 0)
            significand &= 1ul << 63;
        if (Below(12) == 0)
        {
            // A number some other format bounds: integers, singles and doubles at their edges.
            int e = (Below(8)) switch { 0 => 14, 1 => 15, 2 => 30, 3 => 31, 4 => 62, 5 => 63, 6 => 59, _ => -1 };
            return (Below(2) == 0 ? 1ul << 63 : ulong.MaxValue << Below(16), (ushort)(16383 + e | Below(2) << 15));
        }
        if (Below(12) == 0)
        {
            int e = Below(4) switch { 0 => -126, 1 => -1022, 2 => 127, _ => 1023 };
            e += e < 0 ? Below(80) - 75 : Below(3) - 1;
            return (significand | 1ul << 63, (ushort)(16383 + e | Below(2) << 15));
        }
        return (significand, signExponent);
    }

    public (ulong Significand, ushort SignExponent) ExtendedNear((ulong Significand, ushort SignExponent) other) => Below(8) switch
    {
        0 => (other.Significand, (ushort)(other.SignExponent ^ Below(2) << 15)),
        1 => (other.Significand ^ (ulong)Below(4), (ushort)(other.SignExponent ^ Below(2) << 15)),
        2 => (other.Significand, (ushort)(other.SignExponent ^ Below(2) << 15 ^ Below(4))),
        3 => (Pattern() | 1ul << 63, (ushort)(other.SignExponent ^ Below(2) << 15 ^ Below(2))),
        4 => (Pattern() | 1ul << 63, (ushort)(other.SignExponent + Below(140) - 70)),
        _ => Extended(),
    };

    public ulong Mxcsr()
    {
        uint control = (uint)Below(4) << 13 | 0x1F80;
        if (Below(4) == 0)
            control |= 1u << 6;
        if (Below(4) == 0)
            control |= 1u << 15;
        if (Below(3) == 0)
            control = control & ~0x1F80u | (uint)Below(64) << 7;
        if (Below(3) == 0)
            control |= (uint)Below(64);
        return control;
    }

    public uint ControlWord()
    {
        uint control = 0x7F | (uint)Below(4) << 10 | (Below(2) == 0 ? 0x300u : (uint)Below(4) << 8);
        if (Below(3) == 0)
            control = control & ~0x3Fu | (uint)Below(64);
        return control;
    }

    /// <summary>Integers at the edges of their sizes.</summary>
    public ulong Integer() => Below(4) switch
    {
        0 => Pattern(),
        1 => (ulong)-(long)(Pattern() >> Below(64)),
        2 => BitOperations.RotateLeft(1, Below(64)) + (ulong)Below(3) - 1,
        _ => Next() >> Below(64),
    };
}
