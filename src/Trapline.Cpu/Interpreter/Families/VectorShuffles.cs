using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Rearrangements within 128-bit lanes: unpacks, packs, shuffles, alignments, duplications, VPERMILPS/PD, INSERTPS.</summary>
internal static unsafe class VectorShuffles
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        Add<UnpackLow8>(r, Mnemonic.Punpcklbw, Mnemonic.Vpunpcklbw);
        Add<UnpackLow16>(r, Mnemonic.Punpcklwd, Mnemonic.Vpunpcklwd);
        Add<UnpackLow32>(r, Mnemonic.Punpckldq, Mnemonic.Vpunpckldq);
        Add<UnpackLow64>(r, Mnemonic.Punpcklqdq, Mnemonic.Vpunpcklqdq);
        Add<UnpackHigh8, VectorForms.UpperOf<UnpackLow8>>(r, Mnemonic.Punpckhbw, Mnemonic.Vpunpckhbw);
        Add<UnpackHigh16, VectorForms.UpperOf<UnpackLow16>>(r, Mnemonic.Punpckhwd, Mnemonic.Vpunpckhwd);
        Add<UnpackHigh32, VectorForms.UpperOf<UnpackLow32>>(r, Mnemonic.Punpckhdq, Mnemonic.Vpunpckhdq);
        Add<UnpackHigh64>(r, Mnemonic.Punpckhqdq, Mnemonic.Vpunpckhqdq);
        Add<UnpackLow32>(r, Mnemonic.Unpcklps, Mnemonic.Vunpcklps);
        Add<UnpackLow64>(r, Mnemonic.Unpcklpd, Mnemonic.Vunpcklpd);
        Add<UnpackHigh32>(r, Mnemonic.Unpckhps, Mnemonic.Vunpckhps);
        Add<UnpackHigh64>(r, Mnemonic.Unpckhpd, Mnemonic.Vunpckhpd);
        Add<PackSigned16, VectorForms.Joined<PackSigned16>>(r, Mnemonic.Packsswb, Mnemonic.Vpacksswb);
        Add<PackUnsigned16, VectorForms.Joined<PackUnsigned16>>(r, Mnemonic.Packuswb, Mnemonic.Vpackuswb);
        Add<PackSigned32, VectorForms.Joined<PackSigned32>>(r, Mnemonic.Packssdw, Mnemonic.Vpackssdw);
        Add<PackUnsigned32>(r, Mnemonic.Packusdw, Mnemonic.Vpackusdw);
        Add<ShuffleBytes, ShuffleBytesMmx>(r, Mnemonic.Pshufb, Mnemonic.Vpshufb);
        Add<DuplicateEven>(r, Mnemonic.Movsldup, Mnemonic.Vmovsldup);
        Add<DuplicateOdd>(r, Mnemonic.Movshdup, Mnemonic.Vmovshdup);
        Add<DuplicateLow>(r, Mnemonic.Movddup, Mnemonic.Vmovddup);
        AddImmediate<Shuffle32>(r, [Mnemonic.Pshufd, Mnemonic.Vpshufd]);
        AddImmediate<ShuffleLow16>(r, [Mnemonic.Pshufw, Mnemonic.Pshuflw, Mnemonic.Vpshuflw]);
        AddImmediate<ShuffleHigh16>(r, [Mnemonic.Pshufhw, Mnemonic.Vpshufhw]);
        AddImmediate<ShuffleSingles>(r, [Mnemonic.Shufps, Mnemonic.Vshufps]);
        AddImmediate<ShuffleDoubles>(r, [Mnemonic.Shufpd, Mnemonic.Vshufpd]);
        r.Add(Mnemonic.Palignr, &BindAlign);
        r.Add(Mnemonic.Vpalignr, &BindAlign);
        r.Add(Mnemonic.Vpermilps, &BindPermuteInLane<Shuffle32, PermuteSingles>);
        r.Add(Mnemonic.Vpermilpd, &BindPermuteInLane<ShuffleDoublesOfOne, PermuteDoubles>);
        r.Add(Mnemonic.Insertps, &BindInsertSingle);
        r.Add(Mnemonic.Vinsertps, &BindInsertSingle);
    }

    private static void Add<TOperation>(Binders.Registry r, Mnemonic legacy, Mnemonic vex) where TOperation : IVectorBinary
    {
        r.Add(legacy, &VectorForms.Bind<TOperation>);
        r.Add(vex, &VectorForms.Bind<TOperation>);
    }

    private static void Add<TOperation, TMmx>(Binders.Registry r, Mnemonic legacy, Mnemonic vex)
        where TOperation : IVectorBinary where TMmx : IVectorBinary
    {
        r.Add(legacy, &VectorForms.Bind<TOperation, TMmx>);
        r.Add(vex, &VectorForms.Bind<TOperation>);
    }

    private static void AddImmediate<TOperation>(Binders.Registry r, ReadOnlySpan<Mnemonic> mnemonics) where TOperation : IVectorImmediate
    {
        foreach (Mnemonic mnemonic in mnemonics)
            r.Add(mnemonic, &VectorForms.BindImmediate<TOperation>);
    }

    // Unpacks: elements of a at even places, of b at odd ones.

    private readonly struct UnpackLow8 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            (Vector128.WidenLower(a) | (Vector128.WidenLower(b) << 8)).AsByte();
    }

    private readonly struct UnpackLow16 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            (Vector128.WidenLower(a.AsUInt16()) | (Vector128.WidenLower(b.AsUInt16()) << 16)).AsByte();
    }

    private readonly struct UnpackLow32 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            (Vector128.WidenLower(a.AsUInt32()) | (Vector128.WidenLower(b.AsUInt32()) << 32)).AsByte();
    }

    private readonly struct UnpackLow64 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Create(a.GetLower(), b.GetLower());
    }

    private readonly struct UnpackHigh8 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            (Vector128.WidenUpper(a) | (Vector128.WidenUpper(b) << 8)).AsByte();
    }

    private readonly struct UnpackHigh16 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            (Vector128.WidenUpper(a.AsUInt16()) | (Vector128.WidenUpper(b.AsUInt16()) << 16)).AsByte();
    }

    private readonly struct UnpackHigh32 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            (Vector128.WidenUpper(a.AsUInt32()) | (Vector128.WidenUpper(b.AsUInt32()) << 32)).AsByte();
    }

    private readonly struct UnpackHigh64 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Create(a.GetUpper(), b.GetUpper());
    }

    // Packs: signed elements saturated to half their width.

    private readonly struct PackSigned16 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.NarrowWithSaturation(a.AsInt16(), b.AsInt16()).AsByte();
    }

    private readonly struct PackUnsigned16 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.NarrowWithSaturation(
            Vector128.Max(a.AsInt16(), Vector128<short>.Zero).AsUInt16(), Vector128.Max(b.AsInt16(), Vector128<short>.Zero).AsUInt16());
    }

    private readonly struct PackSigned32 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.NarrowWithSaturation(a.AsInt32(), b.AsInt32()).AsByte();
    }

    private readonly struct PackUnsigned32 : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.NarrowWithSaturation(
            Vector128.Max(a.AsInt32(), Vector128<int>.Zero).AsUInt32(), Vector128.Max(b.AsInt32(), Vector128<int>.Zero).AsUInt32()).AsByte();
    }

    /// <summary>Index bit 7 gives zero; otherwise the low four bits count.</summary>
    private readonly struct ShuffleBytes : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.Shuffle(a, b & Vector128.Create((byte)0x8F));
    }

    private readonly struct ShuffleBytesMmx : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.Shuffle(a, b & Vector128.Create((byte)0x87));
    }

    private readonly struct DuplicateEven : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.Shuffle(b.AsUInt32(), Vector128.Create(0u, 0, 2, 2)).AsByte();
    }

    private readonly struct DuplicateOdd : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.Shuffle(b.AsUInt32(), Vector128.Create(1u, 1, 3, 3)).AsByte();
    }

    private readonly struct DuplicateLow : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Create(b.GetLower(), b.GetLower());
    }

    /// <summary>Four 2-bit indices into the doublewords of b.</summary>
    private readonly struct Shuffle32 : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm)
        {
            uint* from = (uint*)&b;
            return Vector128.Create(from[imm & 3], from[(imm >> 2) & 3], from[(imm >> 4) & 3], from[(imm >> 6) & 3]).AsByte();
        }
    }

    private readonly struct ShuffleLow16 : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            b.WithLower(Words((ushort*)&b, imm).AsByte());
    }

    private readonly struct ShuffleHigh16 : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            b.WithUpper(Words((ushort*)&b + 4, imm).AsByte());
    }

    [MethodImpl(Inline)]
    private static Vector64<ushort> Words(ushort* from, int imm) =>
        Vector64.Create(from[imm & 3], from[(imm >> 2) & 3], from[(imm >> 4) & 3], from[(imm >> 6) & 3]);

    private readonly struct ShuffleSingles : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm)
        {
            uint* first = (uint*)&a, second = (uint*)&b;
            return Vector128.Create(first[imm & 3], first[(imm >> 2) & 3], second[(imm >> 4) & 3], second[(imm >> 6) & 3]).AsByte();
        }
    }

    private readonly struct ShuffleDoubles : IVectorImmediate
    {
        public static int UpperShift => 2;

        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            Vector128.Create(((ulong*)&a)[imm & 1], ((ulong*)&b)[(imm >> 1) & 1]).AsByte();
    }

    private readonly struct ShuffleDoublesOfOne : IVectorImmediate
    {
        public static int UpperShift => 2;

        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) => ShuffleDoubles.Apply(b, b, imm);
    }

    /// <summary>VPERMILPS by a vector: each element of b names an element of a in its low two bits.</summary>
    private readonly struct PermuteSingles : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.Shuffle(a.AsUInt32(), b.AsUInt32() & Vector128.Create(3u)).AsByte();
    }

    /// <summary>VPERMILPD by a vector: bit 1 of each element, not bit 0.</summary>
    private readonly struct PermuteDoubles : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.Shuffle(a.AsUInt64(), (b.AsUInt64() >>> 1) & Vector128<ulong>.One).AsByte();
    }

    private static bool BindPermuteInLane<TImmediate, TVector>(ref OpBuilder b)
        where TImmediate : IVectorImmediate where TVector : IVectorBinary =>
        b.Kind(2) == OpKind.Immediate8 ? VectorForms.BindImmediate<TImmediate>(ref b) : VectorForms.Bind<TVector>(ref b);

    private static bool BindAlign(ref OpBuilder b) =>
        b.Instruction.Op0Register.IsMM() ? VectorForms.BindImmediate<AlignMmx>(ref b) : VectorForms.BindImmediate<Align>(ref b);

    /// <summary>PALIGNR: 16 bytes out of a:b from byte imm on; bytes past the end are zero.</summary>
    private readonly struct Align : IVectorImmediate
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm)
        {
            byte* both = stackalloc byte[48];
            b.Store(both);
            a.Store(both + 16);
            Vector128<byte>.Zero.Store(both + 32);
            return Vector128.Load(both + Math.Min(imm, 32));
        }
    }

    private readonly struct AlignMmx : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            ByteShifts.Right(Vector128.Create(b.GetLower(), a.GetLower()), imm);
    }

    /// <summary>INSERTPS: from memory the one single that is there is inserted, whatever the source index says.</summary>
    private static bool BindInsertSingle(ref OpBuilder b)
    {
        if (!VectorForms.BindImmediate<InsertSingle>(ref b))
            return false;
        if (b.IsMemory(b.Instruction.OpCount - 2))
            b.Op->Imm &= 0x3F;
        return true;
    }

    private readonly struct InsertSingle : IVectorImmediate
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm)
        {
            uint* result = (uint*)&a;
            result[(imm >> 4) & 3] = ((uint*)&b)[(imm >> 6) & 3];
            for (int i = 0; i < 4; i++)
                if ((imm >> i & 1) != 0)
                    result[i] = 0;
            return a;
        }
    }
}
