using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Blends: elements of a or b, chosen by an immediate or by the sign bits of a third register.</summary>
internal static unsafe class VectorBlends
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Blendps, &VectorForms.BindImmediate<Blend32>);
        r.Add(Mnemonic.Vblendps, &VectorForms.BindImmediate<Blend32>);
        r.Add(Mnemonic.Vpblendd, &VectorForms.BindImmediate<Blend32>);
        r.Add(Mnemonic.Blendpd, &VectorForms.BindImmediate<Blend64>);
        r.Add(Mnemonic.Vblendpd, &VectorForms.BindImmediate<Blend64>);
        r.Add(Mnemonic.Pblendw, &VectorForms.BindImmediate<Blend16>);
        r.Add(Mnemonic.Vpblendw, &VectorForms.BindImmediate<Blend16>);
        r.Add(Mnemonic.Pblendvb, &VectorForms.BindTernary<BlendBytes>);
        r.Add(Mnemonic.Vpblendvb, &VectorForms.BindTernary<BlendBytes>);
        r.Add(Mnemonic.Blendvps, &VectorForms.BindTernary<BlendSingles>);
        r.Add(Mnemonic.Vblendvps, &VectorForms.BindTernary<BlendSingles>);
        r.Add(Mnemonic.Blendvpd, &VectorForms.BindTernary<BlendDoubles>);
        r.Add(Mnemonic.Vblendvpd, &VectorForms.BindTernary<BlendDoubles>);
    }

    /// <summary>All ones in element i where bit i of the immediate is set.</summary>
    private static Vector128<T> Spread<T>(int imm, Vector128<T> bits) where T : unmanaged, System.Numerics.IBinaryInteger<T> =>
        Vector128.Equals(Vector128.Create(T.CreateTruncating(imm)) & bits, bits);

    private readonly struct Blend16 : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            Vector128.ConditionalSelect(Spread(imm, Vector128.Create(1, 2, 4, 8, 16, 32, 64, (ushort)128)).AsByte(), b, a);
    }

    private readonly struct Blend32 : IVectorImmediate
    {
        public static int UpperShift => 4;

        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            Vector128.ConditionalSelect(Spread(imm, Vector128.Create(1u, 2, 4, 8)).AsByte(), b, a);
    }

    private readonly struct Blend64 : IVectorImmediate
    {
        public static int UpperShift => 2;

        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            Vector128.ConditionalSelect(Spread(imm, Vector128.Create(1ul, 2)).AsByte(), b, a);
    }

    private readonly struct BlendBytes : IVectorTernary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, Vector128<byte> c) =>
            Vector128.ConditionalSelect((c.AsSByte() >> 7).AsByte(), b, a);
    }

    private readonly struct BlendSingles : IVectorTernary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, Vector128<byte> c) =>
            Vector128.ConditionalSelect((c.AsInt32() >> 31).AsByte(), b, a);
    }

    private readonly struct BlendDoubles : IVectorTernary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, Vector128<byte> c) =>
            Vector128.ConditionalSelect((c.AsInt64() >> 63).AsByte(), b, a);
    }
}
