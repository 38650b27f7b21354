using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Everything that crosses 128-bit lanes: broadcasts, extensions (PMOVSX, PMOVZX), permutations, insertion and extraction of lanes.</summary>
internal static unsafe class VectorPermutes
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Vpbroadcastb, &VectorForms.BindWide<Broadcast<byte>>);
        r.Add(Mnemonic.Vpbroadcastw, &VectorForms.BindWide<Broadcast<ushort>>);
        r.Add(Mnemonic.Vpbroadcastd, &VectorForms.BindWide<Broadcast<uint>>);
        r.Add(Mnemonic.Vbroadcastss, &VectorForms.BindWide<Broadcast<uint>>);
        r.Add(Mnemonic.Vpbroadcastq, &VectorForms.BindWide<Broadcast<ulong>>);
        r.Add(Mnemonic.Vbroadcastsd, &VectorForms.BindWide<Broadcast<ulong>>);
        r.Add(Mnemonic.Vbroadcastf128, &VectorForms.BindWide<BroadcastLane>);
        r.Add(Mnemonic.Vbroadcasti128, &VectorForms.BindWide<BroadcastLane>);
        AddExtension<SignBytesToWords>(r, Mnemonic.Pmovsxbw, Mnemonic.Vpmovsxbw);
        AddExtension<SignBytesToDoublewords>(r, Mnemonic.Pmovsxbd, Mnemonic.Vpmovsxbd);
        AddExtension<SignBytesToQuadwords>(r, Mnemonic.Pmovsxbq, Mnemonic.Vpmovsxbq);
        AddExtension<SignWordsToDoublewords>(r, Mnemonic.Pmovsxwd, Mnemonic.Vpmovsxwd);
        AddExtension<SignWordsToQuadwords>(r, Mnemonic.Pmovsxwq, Mnemonic.Vpmovsxwq);
        AddExtension<SignDoublewordsToQuadwords>(r, Mnemonic.Pmovsxdq, Mnemonic.Vpmovsxdq);
        AddExtension<ZeroBytesToWords>(r, Mnemonic.Pmovzxbw, Mnemonic.Vpmovzxbw);
        AddExtension<ZeroBytesToDoublewords>(r, Mnemonic.Pmovzxbd, Mnemonic.Vpmovzxbd);
        AddExtension<ZeroBytesToQuadwords>(r, Mnemonic.Pmovzxbq, Mnemonic.Vpmovzxbq);
        AddExtension<ZeroWordsToDoublewords>(r, Mnemonic.Pmovzxwd, Mnemonic.Vpmovzxwd);
        AddExtension<ZeroWordsToQuadwords>(r, Mnemonic.Pmovzxwq, Mnemonic.Vpmovzxwq);
        AddExtension<ZeroDoublewordsToQuadwords>(r, Mnemonic.Pmovzxdq, Mnemonic.Vpmovzxdq);
        r.Add(Mnemonic.Vpermd, &VectorForms.BindWide<PermuteDoublewords>);
        r.Add(Mnemonic.Vpermps, &VectorForms.BindWide<PermuteDoublewords>);
        r.Add(Mnemonic.Vpermq, &VectorForms.BindWide<PermuteQuadwords>);
        r.Add(Mnemonic.Vpermpd, &VectorForms.BindWide<PermuteQuadwords>);
        r.Add(Mnemonic.Vperm2f128, &VectorForms.BindWide<PermuteLanes>);
        r.Add(Mnemonic.Vperm2i128, &VectorForms.BindWide<PermuteLanes>);
        r.Add(Mnemonic.Vinsertf128, &VectorForms.BindWide<InsertLane>);
        r.Add(Mnemonic.Vinserti128, &VectorForms.BindWide<InsertLane>);
        r.Add(Mnemonic.Vextractf128, &BindExtractLane);
        r.Add(Mnemonic.Vextracti128, &BindExtractLane);
    }

    private static void AddExtension<TOperation>(Binders.Registry r, Mnemonic legacy, Mnemonic vex) where TOperation : IVectorWide
    {
        r.Add(legacy, &VectorForms.BindWide<TOperation>);
        r.Add(vex, &VectorForms.BindWide<TOperation>);
    }

    private readonly struct Broadcast<T> : IVectorWide where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.Create(b.As<byte, T>().ToScalar()).AsByte();
    }

    private readonly struct BroadcastLane : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.Create(b.GetLower(), b.GetLower());
    }

    private readonly struct SignBytesToWords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.WidenLower(b.AsSByte()).AsByte();
    }

    private readonly struct SignBytesToDoublewords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            Vector256.WidenLower(Vector256.WidenLower(b.AsSByte())).AsByte();
    }

    private readonly struct SignBytesToQuadwords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            Vector256.WidenLower(Vector256.WidenLower(Vector256.WidenLower(b.AsSByte()))).AsByte();
    }

    private readonly struct SignWordsToDoublewords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.WidenLower(b.AsInt16()).AsByte();
    }

    private readonly struct SignWordsToQuadwords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            Vector256.WidenLower(Vector256.WidenLower(b.AsInt16())).AsByte();
    }

    private readonly struct SignDoublewordsToQuadwords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.WidenLower(b.AsInt32()).AsByte();
    }

    private readonly struct ZeroBytesToWords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.WidenLower(b).AsByte();
    }

    private readonly struct ZeroBytesToDoublewords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.WidenLower(Vector256.WidenLower(b)).AsByte();
    }

    private readonly struct ZeroBytesToQuadwords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            Vector256.WidenLower(Vector256.WidenLower(Vector256.WidenLower(b))).AsByte();
    }

    private readonly struct ZeroWordsToDoublewords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.WidenLower(b.AsUInt16()).AsByte();
    }

    private readonly struct ZeroWordsToQuadwords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            Vector256.WidenLower(Vector256.WidenLower(b.AsUInt16())).AsByte();
    }

    private readonly struct ZeroDoublewordsToQuadwords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) => Vector256.WidenLower(b.AsUInt32()).AsByte();
    }

    /// <summary>VPERMD: a holds the indices, b the elements.</summary>
    private readonly struct PermuteDoublewords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            Vector256.Shuffle(b.AsUInt32(), a.AsUInt32() & Vector256.Create(7u)).AsByte();
    }

    private readonly struct PermuteQuadwords : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm)
        {
            ulong* from = (ulong*)&b;
            return Vector256.Create(from[imm & 3], from[(imm >> 2) & 3], from[(imm >> 4) & 3], from[(imm >> 6) & 3]).AsByte();
        }
    }

    /// <summary>VPERM2F128: each result lane is one of the four source lanes, or zero.</summary>
    private readonly struct PermuteLanes : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            Vector256.Create(Lane(a, b, imm), Lane(a, b, imm >> 4));

        private static Vector128<byte> Lane(Vector256<byte> a, Vector256<byte> b, int select)
        {
            if ((select & 8) != 0)
                return default;
            Vector256<byte> from = (select & 2) != 0 ? b : a;
            return (select & 1) != 0 ? from.GetUpper() : from.GetLower();
        }
    }

    private readonly struct InsertLane : IVectorWide
    {
        [MethodImpl(Inline)]
        public static Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm) =>
            (imm & 1) != 0 ? a.WithUpper(b.GetLower()) : a.WithLower(b.GetLower());
    }

    private static bool BindExtractLane(ref OpBuilder b)
    {
        if (!VectorForms.Gate(ref b))
            return false;
        b.Op->Src = (ushort)(b.Offset(1) + (b.Immediate(2) & 1) * 16);
        if (b.IsMemory(0))
        {
            VectorForms.FillMemory(ref b);
            b.Op->Run = &StoreLane;
        }
        else
        {
            b.Op->Dst = b.Offset(0);
            b.Op->Run = &CopyLane;
        }
        return true;
    }

    private static int StoreLane(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        return AnyAddress.Linear(cpu, s, op, 16, write: true, out ulong linear)
            && GuestAccess.Store128(cpu, s, op, linear, Vector128.Load((byte*)s + op->Src)) ? Status.Next : Status.Fault;
    }

    private static int CopyLane(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        Vex.Write(s, op->Dst, Vector128.Load((byte*)s + op->Src));
        return Status.Next;
    }
}
