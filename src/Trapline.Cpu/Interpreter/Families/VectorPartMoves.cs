using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// Moves of a part of a vector register: MOVD, MOVQ, MOVSS, MOVSD, MOVLPS and the like, PINSR and PEXTR, MOVMSK, and the MMX crossings.
/// </summary>
/// <remarks>
/// Stores and extractions know at decode time which bytes of the state they take: Src is the offset of the part itself, OperandSize its size.
/// </remarks>
internal static unsafe class VectorPartMoves
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Movd, &BindMoveInteger);
        r.Add(Mnemonic.Vmovd, &BindMoveInteger);
        r.Add(Mnemonic.Movq, &BindMoveInteger);
        r.Add(Mnemonic.Vmovq, &BindMoveInteger);
        r.Add(Mnemonic.Movntq, &BindMoveInteger);
        r.Add(Mnemonic.Movss, &BindScalar<MergeSingle>);
        r.Add(Mnemonic.Vmovss, &BindScalar<MergeSingle>);
        r.AddScalarMovsd(&BindScalar<MergeLow>);
        r.Add(Mnemonic.Vmovsd, &BindScalar<MergeLow>);
        r.Add(Mnemonic.Movlps, &BindHalf<MergeLow>);
        r.Add(Mnemonic.Movlpd, &BindHalf<MergeLow>);
        r.Add(Mnemonic.Vmovlps, &BindHalf<MergeLow>);
        r.Add(Mnemonic.Vmovlpd, &BindHalf<MergeLow>);
        r.Add(Mnemonic.Movhps, &BindHalf<MergeHigh>);
        r.Add(Mnemonic.Movhpd, &BindHalf<MergeHigh>);
        r.Add(Mnemonic.Vmovhps, &BindHalf<MergeHigh>);
        r.Add(Mnemonic.Vmovhpd, &BindHalf<MergeHigh>);
        r.Add(Mnemonic.Movlhps, &VectorForms.Bind<MergeHigh>);
        r.Add(Mnemonic.Vmovlhps, &VectorForms.Bind<MergeHigh>);
        r.Add(Mnemonic.Movhlps, &VectorForms.Bind<HighToLow>);
        r.Add(Mnemonic.Vmovhlps, &VectorForms.Bind<HighToLow>);
        foreach (Mnemonic m in (ReadOnlySpan<Mnemonic>)[
            Mnemonic.Pinsrb, Mnemonic.Pinsrw, Mnemonic.Pinsrd, Mnemonic.Pinsrq,
            Mnemonic.Vpinsrb, Mnemonic.Vpinsrw, Mnemonic.Vpinsrd, Mnemonic.Vpinsrq])
            r.Add(m, &BindInsert);
        foreach (Mnemonic m in (ReadOnlySpan<Mnemonic>)[
            Mnemonic.Pextrb, Mnemonic.Pextrw, Mnemonic.Pextrd, Mnemonic.Pextrq, Mnemonic.Extractps,
            Mnemonic.Vpextrb, Mnemonic.Vpextrw, Mnemonic.Vpextrd, Mnemonic.Vpextrq, Mnemonic.Vextractps])
            r.Add(m, &BindExtract);
        r.Add(Mnemonic.Pmovmskb, &BindMask<ByteSigns>);
        r.Add(Mnemonic.Vpmovmskb, &BindMask<ByteSigns>);
        r.Add(Mnemonic.Movmskps, &BindMask<SingleSigns>);
        r.Add(Mnemonic.Vmovmskps, &BindMask<SingleSigns>);
        r.Add(Mnemonic.Movmskpd, &BindMask<DoubleSigns>);
        r.Add(Mnemonic.Vmovmskpd, &BindMask<DoubleSigns>);
        r.Add(Mnemonic.Movq2dq, &BindMmxToSse);
        r.Add(Mnemonic.Movdq2q, &BindSseToMmx);
    }

    private readonly struct MergeSingle : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a.AsUInt32().WithElement(0, b.AsUInt32().ToScalar()).AsByte();
    }

    private readonly struct MergeLow : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a.WithLower(b.GetLower());
    }

    private readonly struct MergeHigh : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a.WithUpper(b.GetLower());
    }

    private readonly struct HighToLow : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a.WithLower(b.GetUpper());
    }

    /// <summary>The low 64 bits, zero-extended: what MOVQ between registers does.</summary>
    private readonly struct LowOnly : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => b.GetLower().ToVector128();
    }

    /// <summary>MOVD and MOVQ: memory or a general register to a zero-extended vector register, and back; MOVQ also between vector registers.</summary>
    private static bool BindMoveInteger(ref OpBuilder b)
    {
        if (!VectorForms.Gate(ref b))
            return false;
        bool toVector = b.IsRegister(0) && !b.Instruction.Op0Register.IsGPR();
        if (!toVector)
        {
            int size = b.IsRegister(0) ? b.RegisterSize(0) : b.Instruction.MemorySize.GetSize();
            return FillExtract(ref b, 1, 0, size);
        }
        b.Op->Dst = b.Offset(0);
        bool mmx = b.Instruction.Op0Register.IsMM(), vex = (b.Op->Flags & OpFlags.Vex) != 0;
        if (b.IsMemory(1))
        {
            bool flat = VectorForms.FillMemory(ref b) == AddressForm.Flat64;
            if (b.Op->OperandSize == 8 && flat)
                b.Op->Run = mmx ? &Load64<Mmx> : vex ? &Load64<Vex> : &Load64<Sse>;
            else
                b.Op->Run = mmx ? &LoadPart<Mmx> : vex ? &LoadPart<Vex> : &LoadPart<Sse>;
            return true;
        }
        b.Op->Src = b.Offset(1);
        if (b.Instruction.Op1Register.IsGPR())
        {
            b.Op->OperandSize = (byte)b.RegisterSize(1);
            b.Op->Run = mmx ? &FromGeneral<Mmx> : vex ? &FromGeneral<Vex> : &FromGeneral<Sse>;
            return true;
        }
        return VectorForms.Bind<LowOnly>(ref b);
    }

    private static int Load64<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!Flat64.Linear(cpu, s, op, 8, write: false, out ulong linear) || !GuestAccess.Load<W64>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        TEncoding.Write(s, op->Dst, Vector128.CreateScalar(value).AsByte());
        return Status.Next;
    }

    private static int LoadPart<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!InPartOfMemory.Load(cpu, s, op, out Vector128<byte> value))
            return Status.Fault;
        TEncoding.Write(s, op->Dst, value);
        return Status.Next;
    }

    private static int FromGeneral<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        ulong value = *(ulong*)((byte*)s + op->Src);
        TEncoding.Write(s, op->Dst, Vector128.CreateScalar(op->OperandSize == 8 ? value : (uint)value).AsByte());
        return Status.Next;
    }

    /// <summary>MOVSS and MOVSD: a load zero-extends, a register source merges, a store takes the low part.</summary>
    private static bool BindScalar<TMerge>(ref OpBuilder b) where TMerge : IVectorBinary
    {
        if (b.IsMemory(0))
            return BindStore(ref b, 0);
        if (b.IsRegister(1))
            return VectorForms.Bind<TMerge>(ref b);
        if (!VectorForms.Gate(ref b))
            return false;
        b.Op->Dst = b.Offset(0);
        VectorForms.FillMemory(ref b);
        b.Op->Run = (b.Op->Flags & OpFlags.Vex) != 0 ? &LoadPart<Vex> : &LoadPart<Sse>;
        return true;
    }

    /// <summary>MOVLPS, MOVHPS and their double names: one half to or from memory.</summary>
    private static bool BindHalf<TMerge>(ref OpBuilder b) where TMerge : IVectorBinary =>
        b.IsMemory(0) ? BindStore(ref b, typeof(TMerge) == typeof(MergeHigh) ? 8 : 0) : VectorForms.Bind<TMerge>(ref b);

    private static bool BindStore(ref OpBuilder b, int skip) =>
        VectorForms.Gate(ref b) && FillExtract(ref b, 1, skip, b.Instruction.MemorySize.GetSize());

    /// <summary>Sends <paramref name="size"/> bytes of operand <paramref name="source"/>, from byte <paramref name="skip"/> on, to operand 0.</summary>
    private static bool FillExtract(ref OpBuilder b, int source, int skip, int size)
    {
        b.Op->Src = (ushort)(b.Offset(source) + skip);
        bool mmx = b.Instruction.GetOpRegister(source).IsMM(), vex = (b.Op->Flags & OpFlags.Vex) != 0;
        if (b.IsMemory(0))
        {
            bool flat = VectorForms.FillMemory(ref b) == AddressForm.Flat64;
            b.Op->OperandSize = (byte)size;
            if (size == 8 && flat)
                b.Op->Run = mmx ? &Store64<Mmx> : vex ? &Store64<Vex> : &Store64<Sse>;
            else
                b.Op->Run = mmx ? &StorePart<Mmx> : vex ? &StorePart<Vex> : &StorePart<Sse>;
            return true;
        }
        b.Op->OperandSize = (byte)size;
        b.Op->Dst = b.Offset(0);
        b.Op->Run = mmx ? &ToGeneral<Mmx> : vex ? &ToGeneral<Vex> : &ToGeneral<Sse>;
        return true;
    }

    private static int Store64<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!Flat64.Linear(cpu, s, op, 8, write: true, out ulong linear)
            || !GuestAccess.Store<W64>(cpu, s, op, linear, *(ulong*)((byte*)s + op->Src)))
            return Status.Fault;
        TEncoding.Touch(s);
        return Status.Next;
    }

    private static int StorePart<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        int size = op->OperandSize;
        if (!AnyAddress.Linear(cpu, s, op, size, write: true, out ulong linear)
            || !GuestAccess.Store(cpu, s, op, linear, size, Part((byte*)s + op->Src, size)))
            return Status.Fault;
        TEncoding.Touch(s);
        return Status.Next;
    }

    /// <summary>A part to a general register, zero-extended to its full 64 bits.</summary>
    private static int ToGeneral<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        *(ulong*)((byte*)s + op->Dst) = Part((byte*)s + op->Src, op->OperandSize);
        TEncoding.Touch(s);
        return Status.Next;
    }

    private static ulong Part(byte* p, int size) => size switch
    {
        1 => *p,
        2 => *(ushort*)p,
        4 => *(uint*)p,
        _ => *(ulong*)p,
    };

    private static int ElementSize(Mnemonic mnemonic) => mnemonic switch
    {
        Mnemonic.Pinsrb or Mnemonic.Vpinsrb or Mnemonic.Pextrb or Mnemonic.Vpextrb => 1,
        Mnemonic.Pinsrw or Mnemonic.Vpinsrw or Mnemonic.Pextrw or Mnemonic.Vpextrw => 2,
        Mnemonic.Pinsrq or Mnemonic.Vpinsrq or Mnemonic.Pextrq or Mnemonic.Vpextrq => 8,
        _ => 4,
    };

    private static bool BindExtract(ref OpBuilder b)
    {
        if (!VectorForms.Gate(ref b))
            return false;
        int size = ElementSize(b.Instruction.Mnemonic);
        int bytes = b.Instruction.Op1Register.IsMM() ? 8 : 16;
        int element = (int)b.Immediate(2) & (bytes / size - 1);
        return FillExtract(ref b, 1, element * size, size);
    }

    private static bool BindInsert(ref OpBuilder b)
    {
        if (!VectorForms.Begin(ref b))
            return false;
        int size = ElementSize(b.Instruction.Mnemonic);
        bool mmx = b.Instruction.Op0Register.IsMM(), vex = (b.Op->Flags & OpFlags.Vex) != 0;
        b.Op->Imm = (ulong)(((int)b.Op->Imm & ((mmx ? 8 : 16) / size - 1)) * size);
        b.Op->OperandSize = (byte)size;
        if ((b.Op->Flags & OpFlags.Memory) != 0)
            b.Op->Run = mmx ? &Insert<Mmx, InPartOfMemory> : vex ? &Insert<Vex, InPartOfMemory> : &Insert<Sse, InPartOfMemory>;
        else
            b.Op->Run = mmx ? &Insert<Mmx, InRegister> : vex ? &Insert<Vex, InRegister> : &Insert<Sse, InRegister>;
        return true;
    }

    /// <summary>The first source with one element, at byte Imm, replaced by the low bytes of the last source.</summary>
    private static int Insert<TEncoding, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding where TSource : ISource
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load(cpu, s, op, out Vector128<byte> b))
            return Status.Fault;
        Vector128<byte> result = Vector128.Load((byte*)s + op->Src2);
        byte* element = (byte*)&result + op->Imm;
        ulong value = b.AsUInt64().ToScalar();
        switch (op->OperandSize)
        {
            case 1: *element = (byte)value; break;
            case 2: *(ushort*)element = (ushort)value; break;
            case 4: *(uint*)element = (uint)value; break;
            default: *(ulong*)element = value; break;
        }
        TEncoding.Write(s, op->Dst, result);
        return Status.Next;
    }

    /// <summary>Gathers the sign bits of a vector's elements.</summary>
    private interface ISigns
    {
        static abstract int Count { get; }
        static abstract uint Of(Vector128<byte> a);
    }

    private readonly struct ByteSigns : ISigns
    {
        public static int Count => 16;
        [MethodImpl(Inline)] public static uint Of(Vector128<byte> a) => a.ExtractMostSignificantBits();
    }

    private readonly struct SingleSigns : ISigns
    {
        public static int Count => 4;
        [MethodImpl(Inline)] public static uint Of(Vector128<byte> a) => a.AsUInt32().ExtractMostSignificantBits();
    }

    private readonly struct DoubleSigns : ISigns
    {
        public static int Count => 2;
        [MethodImpl(Inline)] public static uint Of(Vector128<byte> a) => a.AsUInt64().ExtractMostSignificantBits();
    }

    private static bool BindMask<TSigns>(ref OpBuilder b) where TSigns : ISigns
    {
        if (!VectorForms.Begin(ref b))
            return false;
        if (b.Instruction.Op1Register.IsMM())
            b.Op->Run = &MaskMmx;
        else if ((b.Op->Flags & OpFlags.Vex) == 0)
            b.Op->Run = &Mask<TSigns, Sse>;
        else
            b.Op->Run = (b.Op->Flags & OpFlags.Wide) != 0 ? &Mask256<TSigns> : &Mask<TSigns, Vex>;
        return true;
    }

    private static int Mask<TSigns, TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TSigns : ISigns where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        *(ulong*)((byte*)s + op->Dst) = TSigns.Of(Vector128.Load((byte*)s + op->Src));
        return Status.Next;
    }

    private static int Mask256<TSigns>(SoftwareVcpu cpu, CpuState* s, Op* op) where TSigns : ISigns
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        byte* source = (byte*)s + op->Src;
        *(ulong*)((byte*)s + op->Dst) = TSigns.Of(Vector128.Load(source)) | (TSigns.Of(Vector128.Load(source + 16)) << TSigns.Count);
        return Status.Next;
    }

    private static int MaskMmx(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Mmx.Ready(cpu, s))
            return Status.Fault;
        *(ulong*)((byte*)s + op->Dst) = Vector128.Load((byte*)s + op->Src).ExtractMostSignificantBits() & 0xFF;
        Mmx.Touch(s);
        return Status.Next;
    }

    private static bool BindMmxToSse(ref OpBuilder b)
    {
        b.Op->Run = &MmxToSse;
        return VectorForms.Begin(ref b);
    }

    private static bool BindSseToMmx(ref OpBuilder b)
    {
        b.Op->Run = &SseToMmx;
        return VectorForms.Begin(ref b);
    }

    private static int MmxToSse(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Sse.Ready(cpu, s))
            return Status.Fault;
        if (!Mmx.Ready(cpu, s))
            return Status.Fault;
        Sse.Write(s, op->Dst, Vector128.CreateScalar(*(ulong*)((byte*)s + op->Src)).AsByte());
        Mmx.Touch(s);
        return Status.Next;
    }

    private static int SseToMmx(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Sse.Ready(cpu, s))
            return Status.Fault;
        if (!Mmx.Ready(cpu, s))
            return Status.Fault;
        Mmx.Write(s, op->Dst, Vector128.Load((byte*)s + op->Src));
        return Status.Next;
    }
}
