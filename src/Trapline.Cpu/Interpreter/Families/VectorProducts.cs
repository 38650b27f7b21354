using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Multiplications, multiply-add, horizontal sums and sums of absolute differences.</summary>
internal static unsafe class VectorProducts
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        Add<MultiplyLow<ushort>>(r, Mnemonic.Pmullw, Mnemonic.Vpmullw);
        Add<MultiplyLow<uint>>(r, Mnemonic.Pmulld, Mnemonic.Vpmulld);
        Add<MultiplyHighSigned>(r, Mnemonic.Pmulhw, Mnemonic.Vpmulhw);
        Add<MultiplyHighUnsigned>(r, Mnemonic.Pmulhuw, Mnemonic.Vpmulhuw);
        Add<MultiplyHighRounded>(r, Mnemonic.Pmulhrsw, Mnemonic.Vpmulhrsw);
        Add<MultiplyEvenUnsigned>(r, Mnemonic.Pmuludq, Mnemonic.Vpmuludq);
        Add<MultiplyEvenSigned>(r, Mnemonic.Pmuldq, Mnemonic.Vpmuldq);
        Add<MultiplyAddWords>(r, Mnemonic.Pmaddwd, Mnemonic.Vpmaddwd);
        Add<MultiplyAddBytes>(r, Mnemonic.Pmaddubsw, Mnemonic.Vpmaddubsw);
        Add<SumOfDifferences>(r, Mnemonic.Psadbw, Mnemonic.Vpsadbw);
        Add<MinimumPosition>(r, Mnemonic.Phminposuw, Mnemonic.Vphminposuw);
        AddHorizontal<HorizontalWords<Sum>>(r, Mnemonic.Phaddw, Mnemonic.Vphaddw);
        AddHorizontal<HorizontalDoublewords<Sum>>(r, Mnemonic.Phaddd, Mnemonic.Vphaddd);
        AddHorizontal<HorizontalWords<SaturatedSum>>(r, Mnemonic.Phaddsw, Mnemonic.Vphaddsw);
        AddHorizontal<HorizontalWords<Difference>>(r, Mnemonic.Phsubw, Mnemonic.Vphsubw);
        AddHorizontal<HorizontalDoublewords<Difference>>(r, Mnemonic.Phsubd, Mnemonic.Vphsubd);
        AddHorizontal<HorizontalWords<SaturatedDifference>>(r, Mnemonic.Phsubsw, Mnemonic.Vphsubsw);
        r.Add(Mnemonic.Mpsadbw, &VectorForms.BindImmediate<MultipleDifferences>);
        r.Add(Mnemonic.Vmpsadbw, &VectorForms.BindImmediate<MultipleDifferences>);
    }

    private static void Add<TOperation>(Binders.Registry r, Mnemonic legacy, Mnemonic vex) where TOperation : IVectorBinary
    {
        r.Add(legacy, &VectorForms.Bind<TOperation>);
        r.Add(vex, &VectorForms.Bind<TOperation>);
    }

    private static void AddHorizontal<TOperation>(Binders.Registry r, Mnemonic legacy, Mnemonic vex) where TOperation : IVectorBinary
    {
        r.Add(legacy, &VectorForms.Bind<TOperation, VectorForms.Joined<TOperation>>);
        r.Add(vex, &VectorForms.Bind<TOperation>);
    }

    private readonly struct MultiplyLow<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.As<byte, T>() * b.As<byte, T>()).AsByte();
    }

    private readonly struct MultiplyHighSigned : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            (Vector128<int> a0, Vector128<int> a1) = Vector128.Widen(a.AsInt16());
            (Vector128<int> b0, Vector128<int> b1) = Vector128.Widen(b.AsInt16());
            return Vector128.Narrow(a0 * b0 >> 16, a1 * b1 >> 16).AsByte();
        }
    }

    private readonly struct MultiplyHighUnsigned : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            (Vector128<uint> a0, Vector128<uint> a1) = Vector128.Widen(a.AsUInt16());
            (Vector128<uint> b0, Vector128<uint> b1) = Vector128.Widen(b.AsUInt16());
            return Vector128.Narrow(a0 * b0 >>> 16, a1 * b1 >>> 16).AsByte();
        }
    }

    /// <summary>Bits 30 to 15 of the product, rounded: ((a * b >> 14) + 1) >> 1.</summary>
    private readonly struct MultiplyHighRounded : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            (Vector128<int> a0, Vector128<int> a1) = Vector128.Widen(a.AsInt16());
            (Vector128<int> b0, Vector128<int> b1) = Vector128.Widen(b.AsInt16());
            return Vector128.Narrow(((a0 * b0 >> 14) + Vector128<int>.One) >> 1, ((a1 * b1 >> 14) + Vector128<int>.One) >> 1).AsByte();
        }
    }

    private readonly struct MultiplyEvenUnsigned : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<ulong> low = Vector128.Create(0xFFFF_FFFFul);
            return ((a.AsUInt64() & low) * (b.AsUInt64() & low)).AsByte();
        }
    }

    private readonly struct MultiplyEvenSigned : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            ((a.AsInt64() << 32 >> 32) * (b.AsInt64() << 32 >> 32)).AsByte();
    }

    /// <summary>Sums of the two products in each doubleword; only 0x8000 four times wraps, to 0x80000000 (SDM Vol. 2, PMADDWD).</summary>
    private readonly struct MultiplyAddWords : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<int> x = a.AsInt32(), y = b.AsInt32();
            return ((x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16)).AsByte();
        }
    }

    /// <summary>Unsigned bytes of a times signed bytes of b, adjacent products added with signed saturation.</summary>
    private readonly struct MultiplyAddBytes : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<short> even = (a.AsUInt16() & Vector128.Create((ushort)0xFF)).AsInt16() * (b.AsInt16() << 8 >> 8);
            Vector128<short> odd = (a.AsUInt16() >>> 8).AsInt16() * (b.AsInt16() >> 8);
            return Vector128.AddSaturate(even, odd).AsByte();
        }
    }

    [MethodImpl(Inline)]
    private static Vector128<byte> AbsoluteDifference(Vector128<byte> a, Vector128<byte> b) => Vector128.Max(a, b) - Vector128.Min(a, b);

    private readonly struct SumOfDifferences : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<ushort> bytes = AbsoluteDifference(a, b).AsUInt16();
            Vector128<ushort> words = (bytes & Vector128.Create((ushort)0xFF)) + (bytes >>> 8);
            Vector128<ulong> sum = words.AsUInt64();
            sum += sum >>> 32;
            sum += sum >>> 16;
            return (sum & Vector128.Create(0xFFFFul)).AsByte();
        }
    }

    /// <summary>Eight sums over four bytes each: a block of b against a sliding window of a. The upper lane has immediate bits 3 to 5.</summary>
    private readonly struct MultipleDifferences : IVectorImmediate
    {
        public static int UpperShift => 3;

        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm)
        {
            byte* window = (byte*)&a + (imm & 4);
            byte* block = (byte*)&b + (imm & 3) * 4;
            Vector128<ushort> result = default;
            for (int i = 0; i < 8; i++)
            {
                int sum = 0;
                for (int j = 0; j < 4; j++)
                    sum += Math.Abs(window[i + j] - block[j]);
                result = result.WithElement(i, (ushort)sum);
            }
            return result.AsByte();
        }
    }

    /// <summary>PHMINPOSUW: the least word and the index of its first occurrence.</summary>
    private readonly struct MinimumPosition : IVectorBinary
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            ushort* words = (ushort*)&b;
            int least = 0;
            for (int i = 1; i < 8; i++)
                if (words[i] < words[least])
                    least = i;
            return Vector128.CreateScalar((uint)words[least] | (uint)least << 16).AsByte();
        }
    }

    /// <summary>What a horizontal operation does with the even and the odd elements.</summary>
    private interface IPair
    {
        static abstract Vector128<T> Of<T>(Vector128<T> even, Vector128<T> odd);
    }

    private readonly struct Sum : IPair
    {
        [MethodImpl(Inline)] public static Vector128<T> Of<T>(Vector128<T> even, Vector128<T> odd) => even + odd;
    }

    private readonly struct Difference : IPair
    {
        [MethodImpl(Inline)] public static Vector128<T> Of<T>(Vector128<T> even, Vector128<T> odd) => even - odd;
    }

    private readonly struct SaturatedSum : IPair
    {
        [MethodImpl(Inline)] public static Vector128<T> Of<T>(Vector128<T> even, Vector128<T> odd) => Vector128.AddSaturate(even, odd);
    }

    private readonly struct SaturatedDifference : IPair
    {
        [MethodImpl(Inline)] public static Vector128<T> Of<T>(Vector128<T> even, Vector128<T> odd) => Vector128.SubtractSaturate(even, odd);
    }

    private readonly struct HorizontalWords<TPair> : IVectorBinary where TPair : IPair
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<ushort> even = Vector128.Narrow(a.AsUInt32() & Vector128.Create(0xFFFFu), b.AsUInt32() & Vector128.Create(0xFFFFu));
            Vector128<ushort> odd = Vector128.Narrow(a.AsUInt32() >>> 16, b.AsUInt32() >>> 16);
            return TPair.Of(even.AsInt16(), odd.AsInt16()).AsByte();
        }
    }

    private readonly struct HorizontalDoublewords<TPair> : IVectorBinary where TPair : IPair
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<uint> even = Vector128.Narrow(a.AsUInt64() & Vector128.Create(0xFFFF_FFFFul), b.AsUInt64() & Vector128.Create(0xFFFF_FFFFul));
            Vector128<uint> odd = Vector128.Narrow(a.AsUInt64() >>> 32, b.AsUInt64() >>> 32);
            return TPair.Of(even.AsInt32(), odd.AsInt32()).AsByte();
        }
    }
}
