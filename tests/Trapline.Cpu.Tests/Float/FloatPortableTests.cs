using System.Numerics;
using Trapline.Cpu.Interpreter.Float;

namespace Trapline.Cpu.Tests.Float;

/// <summary>What needs no host to compare with: fast paths against their soft twins, approximations against their bound.</summary>
public class FloatPortableTests
{
    private const int Cases = 40_000;

    /// <summary>The status under which the front doors may use host arithmetic.</summary>
    private const uint Quiet = FloatStatus.DefaultMxcsr | (uint)FloatExceptions.Precision;

    private delegate ulong Operation(ulong a, ulong b, ulong c, ref FloatStatus s);

    private static void Agree(int exponentBits, int fractionBits, Operation fast, Operation soft)
    {
        var cases = new FloatCases(99);
        for (int i = 0; i < Cases; i++)
        {
            ulong a = cases.Encoding(exponentBits, fractionBits);
            ulong b = cases.EncodingNear(a, exponentBits, fractionBits);
            ulong c = cases.EncodingNear(a, exponentBits, fractionBits);
            uint mxcsr = cases.Below(4) == 0 ? (uint)cases.Mxcsr() : Quiet;
            FloatStatus s = new(mxcsr), t = new(mxcsr);
            ulong x = fast(a, b, c, ref s), y = soft(a, b, c, ref t);
            if (t.Unmasked == 0)
                Assert.True(x == y, $"{a:X} {b:X} {c:X} mxcsr {mxcsr:X}: fast {x:X}, soft {y:X}");
            Assert.Equal(t.Mxcsr, s.Mxcsr);
        }
    }

    [Fact]
    public void Double_fast_paths_agree_with_soft_twins()
    {
        Agree(11, 52, (a, b, _, ref s) => F64.Add(a, b, ref s), (a, b, _, ref s) => F64.AddSoft(a, b, ref s));
        Agree(11, 52, (a, b, _, ref s) => F64.Subtract(a, b, ref s), (a, b, _, ref s) => F64.SubtractSoft(a, b, ref s));
        Agree(11, 52, (a, b, _, ref s) => F64.Multiply(a, b, ref s), (a, b, _, ref s) => F64.MultiplySoft(a, b, ref s));
        Agree(11, 52, (a, b, _, ref s) => F64.Divide(a, b, ref s), (a, b, _, ref s) => F64.DivideSoft(a, b, ref s));
        Agree(11, 52, (a, _, _, ref s) => F64.SquareRoot(a, ref s), (a, _, _, ref s) => F64.SquareRootSoft(a, ref s));
        Agree(11, 52, (a, b, c, ref s) => F64.MultiplyAdd(a, b, c, true, false, ref s),
            (a, b, c, ref s) => F64.MultiplyAddSoft(a, b, c, true, false, ref s));
    }

    [Fact]
    public void Single_fast_paths_agree_with_soft_twins()
    {
        Agree(8, 23, (a, b, _, ref s) => F32.Add((uint)a, (uint)b, ref s), (a, b, _, ref s) => F32.AddSoft((uint)a, (uint)b, ref s));
        Agree(8, 23, (a, b, _, ref s) => F32.Subtract((uint)a, (uint)b, ref s), (a, b, _, ref s) => F32.SubtractSoft((uint)a, (uint)b, ref s));
        Agree(8, 23, (a, b, _, ref s) => F32.Multiply((uint)a, (uint)b, ref s), (a, b, _, ref s) => F32.MultiplySoft((uint)a, (uint)b, ref s));
        Agree(8, 23, (a, b, _, ref s) => F32.Divide((uint)a, (uint)b, ref s), (a, b, _, ref s) => F32.DivideSoft((uint)a, (uint)b, ref s));
        Agree(8, 23, (a, _, _, ref s) => F32.SquareRoot((uint)a, ref s), (a, _, _, ref s) => F32.SquareRootSoft((uint)a, ref s));
        Agree(8, 23, (a, b, c, ref s) => F32.MultiplyAdd((uint)a, (uint)b, (uint)c, false, true, ref s),
            (a, b, c, ref s) => F32.MultiplyAddSoft((uint)a, (uint)b, (uint)c, false, true, ref s));
    }

    private delegate F80 ExtendedOperation(F80 a, F80 b, ref FloatStatus s);

    [Fact]
    public void Extended_fast_paths_agree_with_soft_twins()
    {
        Agree(F80.Add, F80.AddSoft);
        Agree(F80.Subtract, F80.SubtractSoft);
        Agree(F80.Multiply, F80.MultiplySoft);
    }

    private static void Agree(ExtendedOperation fast, ExtendedOperation soft)
    {
        var cases = new FloatCases(5);
        for (int i = 0; i < Cases; i++)
        {
            (ulong Significand, ushort SignExponent) x = cases.Extended(), y = cases.ExtendedNear(x);
            F80 a = new(x.SignExponent, x.Significand), b = new(y.SignExponent, y.Significand);
            uint control = cases.Below(4) == 0 ? cases.ControlWord() : 0x37Fu;
            FloatStatus s = FloatStatus.X87((ushort)control), t = s;
            F80 f = fast(a, b, ref s), g = soft(a, b, ref t);
            Assert.True(f == g && s.Raised == t.Raised && s.RoundedUp == t.RoundedUp, $"{a} {b} cw {control:X}: fast {f} {s.Raised}, soft {g} {t.Raised}");
        }
    }

    [Fact]
    public void Approximations_stay_within_the_architected_error()
    {
        double worst = 0, worstRoot = 0;
        for (ulong i = 0x00800000; i < 0x7F800000; i += 1237)
        {
            var a = (uint)i;
            double x = BitConverter.UInt32BitsToSingle(a);
            uint r = F32.ReciprocalApproximate(a);
            if (r != 0)
                worst = Math.Max(worst, Math.Abs(BitConverter.UInt32BitsToSingle(r) * x - 1));
            else
                Assert.True(1 / x < 1.18e-38);
            worstRoot = Math.Max(worstRoot, Math.Abs(BitConverter.UInt32BitsToSingle(F32.ReciprocalSquareRootApproximate(a)) * Math.Sqrt(x) - 1));
        }
        Assert.InRange(worst, 0, 1.5 / 4096);
        Assert.InRange(worstRoot, 0, 1.5 / 4096);
    }

    [Theory]
    [InlineData(0x00000000u, 0x7F800000u, 0x7F800000u)]
    [InlineData(0x80000000u, 0xFF800000u, 0xFF800000u)]
    [InlineData(0x80000001u, 0xFF800000u, 0xFF800000u)]
    [InlineData(0x7F800000u, 0x00000000u, 0x00000000u)]
    [InlineData(0xFF800000u, 0x80000000u, 0xFFC00000u)]
    [InlineData(0xBF800000u, 0xBF800000u, 0xFFC00000u)]
    [InlineData(0x7F800001u, 0x7FC00001u, 0x7FC00001u)]
    [InlineData(0x3F800000u, 0x3F800000u, 0x3F800000u)]
    [InlineData(0x40800000u, 0x3E800000u, 0x3F000000u)]
    public void Approximations_of_special_operands(uint a, uint reciprocal, uint root)
    {
        Assert.Equal(reciprocal, F32.ReciprocalApproximate(a));
        Assert.Equal(root, F32.ReciprocalSquareRootApproximate(a));
    }

    [Fact]
    public void Unsigned_conversions_round_and_saturate()
    {
        var cases = new FloatCases(7);
        for (int i = 0; i < Cases; i++)
        {
            ulong a = cases.Encoding(11, 52);
            double x = BitConverter.UInt64BitsToDouble(a);
            FloatStatus s = new(FloatStatus.DefaultMxcsr), t = s;
            double rounded = Math.Round(x, MidpointRounding.ToEven);
            bool fits = rounded is >= 0 and < 18446744073709551616.0;
            Assert.Equal(fits ? (ulong)(BigInteger)rounded : ulong.MaxValue, F64.ToUInt64(a, ref s));
            Assert.Equal(!fits ? FloatExceptions.Invalid : rounded != x ? FloatExceptions.Precision : 0, s.Raised);
            fits = rounded is >= 0 and < 4294967296.0;
            Assert.Equal(fits ? (uint)rounded : uint.MaxValue, F64.ToUInt32(a, ref t));
            ulong n = cases.Integer();
            s = new(FloatStatus.DefaultMxcsr);
            Assert.Equal(BitConverter.DoubleToUInt64Bits((double)n), F64.FromUInt64(n, ref s));
            Assert.Equal((BigInteger)(double)n != n, s.Raised != 0);
            Assert.Equal(BitConverter.SingleToUInt32Bits((float)n), F32.FromUInt64(n, ref s));
        }
    }
}
