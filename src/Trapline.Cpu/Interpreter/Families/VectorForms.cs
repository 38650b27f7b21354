using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>An operation on 128-bit lanes: <c>destination = Apply(first source, last source)</c>. Unary ones ignore <c>a</c>.</summary>
internal interface IVectorBinary
{
    static abstract Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b);
}

/// <summary>The same with an immediate byte.</summary>
internal interface IVectorImmediate
{
    /// <summary>How far the upper 128-bit lane's part of the immediate lies above the lower one's; 0 if they share it.</summary>
    static virtual int UpperShift => 0;

    static abstract Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm);
}

/// <summary>An operation that crosses 128-bit lanes, or whose source is narrower than its result.</summary>
internal interface IVectorWide
{
    static abstract Vector256<byte> Apply(Vector256<byte> a, Vector256<byte> b, int imm);
}

/// <summary>An operation with a third source, explicit in VEX forms and XMM0 in legacy ones.</summary>
internal interface IVectorTernary
{
    static abstract Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, Vector128<byte> c);
}

/// <summary>
/// From one operation to every form of it: MMX, legacy SSE, VEX.128 and VEX.256, with the last source in a register or in memory.
/// </summary>
/// <remarks>
/// Operands in the op: Dst the destination, Src2 the first source (the destination itself where there is none), Src or the memory fields the
/// last one, Imm the immediate byte or the state offset of a fourth register.
/// </remarks>
internal static unsafe class VectorForms
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    internal static readonly int YmmOffset = (int)Marshal.OffsetOf<CpuState>(nameof(CpuState.Ymm));

    /// <summary>Every form of a lane-wise operation.</summary>
    public static bool Bind<TOperation>(ref OpBuilder b) where TOperation : IVectorBinary => BindImmediate<Plain<TOperation>>(ref b);

    /// <summary>The same for operations whose 64-bit MMX form mixes its operands: see <see cref="Joined{T}"/> and its like.</summary>
    public static bool Bind<TOperation, TMmx>(ref OpBuilder b) where TOperation : IVectorBinary where TMmx : IVectorBinary =>
        b.Instruction.Op0Register.IsMM() ? Bind<TMmx>(ref b) : Bind<TOperation>(ref b);

    public static bool BindImmediate<TOperation>(ref OpBuilder b) where TOperation : IVectorImmediate
    {
        if (!Begin(ref b))
            return false;
        bool memory = (b.Op->Flags & OpFlags.Memory) != 0;
        bool part = memory && b.Op->OperandSize < 16;
        if (b.Instruction.Op0Register.IsMM())
            b.Op->Run = memory ? &Run<TOperation, Mmx, InPartOfMemory> : &Run<TOperation, Mmx, InRegister>;
        else if ((b.Op->Flags & OpFlags.Vex) == 0)
            b.Op->Run = part ? &Run<TOperation, Sse, InPartOfMemory>
                : memory ? &Run<TOperation, Sse, InOperandMemory> : &Run<TOperation, Sse, InRegister>;
        else if ((b.Op->Flags & OpFlags.Wide) == 0)
            b.Op->Run = part ? &Run<TOperation, Vex, InPartOfMemory>
                : memory ? &Run<TOperation, Vex, InMemory<AnyAddress>> : &Run<TOperation, Vex, InRegister>;
        else
            b.Op->Run = memory ? &Run256<TOperation, InMemory<AnyAddress>> : &Run256<TOperation, InRegister>;
        return true;
    }

    /// <summary>Legacy forms whose memory operand may lie anywhere: AMD processors take unaligned SHA operands.</summary>
    public static bool BindUnaligned<TOperation>(ref OpBuilder b) where TOperation : IVectorImmediate
    {
        if (!Begin(ref b))
            return false;
        b.Op->Run = (b.Op->Flags & OpFlags.Memory) != 0 ? &Run<TOperation, Sse, InMemory<AnyAddress>> : &Run<TOperation, Sse, InRegister>;
        return true;
    }

    /// <summary>VEX.256 only, and VEX.128 as its truncation where the operation has one.</summary>
    public static bool BindWide<TOperation>(ref OpBuilder b) where TOperation : IVectorWide
    {
        if (!Begin(ref b))
            return false;
        bool memory = (b.Op->Flags & OpFlags.Memory) != 0;
        bool part = memory && b.Op->OperandSize < 32;
        if ((b.Op->Flags & OpFlags.Wide) != 0)
            b.Op->Run = part ? &RunWide<TOperation, InPartOfMemory>
                : memory ? &RunWide<TOperation, InMemory<AnyAddress>> : &RunWide<TOperation, InRegister>;
        else if ((b.Op->Flags & OpFlags.Vex) != 0)
            b.Op->Run = part ? &RunTruncated<TOperation, Vex, InPartOfMemory> : &RunTruncated<TOperation, Vex, InRegister>;
        else
            b.Op->Run = part ? &RunTruncated<TOperation, Sse, InPartOfMemory> : &RunTruncated<TOperation, Sse, InRegister>;
        return true;
    }

    /// <summary>XMM0 as the third source of a legacy form whose memory operand may lie anywhere.</summary>
    public static bool BindTernaryUnaligned<TOperation>(ref OpBuilder b) where TOperation : IVectorTernary
    {
        if (!Begin(ref b))
            return false;
        b.Op->Imm = (ulong)YmmOffset;
        b.Op->Run = (b.Op->Flags & OpFlags.Memory) != 0
            ? &RunTernary<TOperation, Sse, InMemory<AnyAddress>> : &RunTernary<TOperation, Sse, InRegister>;
        return true;
    }

    public static bool BindTernary<TOperation>(ref OpBuilder b) where TOperation : IVectorTernary
    {
        if (!Begin(ref b))
            return false;
        bool memory = (b.Op->Flags & OpFlags.Memory) != 0;
        if ((b.Op->Flags & OpFlags.Vex) == 0)
        {
            b.Op->Imm = (ulong)YmmOffset;
            b.Op->Run = memory ? &RunTernary<TOperation, Sse, InOperandMemory> : &RunTernary<TOperation, Sse, InRegister>;
        }
        else if ((b.Op->Flags & OpFlags.Wide) == 0)
            b.Op->Run = memory ? &RunTernary<TOperation, Vex, InMemory<AnyAddress>> : &RunTernary<TOperation, Vex, InRegister>;
        else
            b.Op->Run = memory ? &RunTernary256<TOperation, InMemory<AnyAddress>> : &RunTernary256<TOperation, InRegister>;
        return true;
    }

    /// <summary>Feature gate, encoding flags and the operands in their usual places. False: undefined for this model.</summary>
    public static bool Begin(ref OpBuilder b)
    {
        if (!Gate(ref b))
            return false;
        int count = b.Instruction.OpCount;
        if (b.Kind(count - 1) == OpKind.Immediate8)
            b.Op->Imm = (byte)b.Immediate(--count);
        else if (count == 4)
            b.Op->Imm = b.Offset(--count);
        b.Op->Dst = b.Offset(0);
        b.Op->Src2 = b.Offset(count == 3 ? 1 : 0);
        FillSource(ref b, count - 1);
        return true;
    }

    /// <summary>Feature gate and encoding flags. False: undefined for this model.</summary>
    public static bool Gate(ref OpBuilder b)
    {
        if (!VectorFeatures.Allow(ref b))
            return false;
        if (b.Instruction.Encoding == EncodingKind.VEX)
            b.Op->Flags |= OpFlags.Vex;
        for (int i = 0; i < b.Instruction.OpCount; i++)
            if (b.IsRegister(i) && b.Instruction.GetOpRegister(i).IsYMM())
                b.Op->Flags |= OpFlags.Wide;
        return true;
    }

    /// <summary>The register or memory operand <paramref name="operand"/> into Src or the memory fields.</summary>
    public static void FillSource(ref OpBuilder b, int operand)
    {
        if (b.IsMemory(operand))
            FillMemory(ref b);
        else
            b.Op->Src = b.Offset(operand);
    }

    public static AddressForm FillMemory(ref OpBuilder b)
    {
        AddressForm form = b.Memory();
        if (form == AddressForm.Flat64)
            b.Op->Flags |= OpFlags.Flat;
        b.Op->OperandSize = (byte)b.Instruction.MemorySize.GetSize();
        return form;
    }

    internal static int Run<TOperation, TEncoding, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOperation : IVectorImmediate where TEncoding : IEncoding where TSource : ISource
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load(cpu, s, op, out Vector128<byte> b))
            return Status.Fault;
        TEncoding.Write(s, op->Dst, TOperation.Apply(Vector128.Load((byte*)s + op->Src2), b, (int)op->Imm));
        return Status.Next;
    }

    internal static int Run256<TOperation, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOperation : IVectorImmediate where TSource : ISource
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load256(cpu, s, op, out Vector256<byte> b))
            return Status.Fault;
        byte* a = (byte*)s + op->Src2, destination = (byte*)s + op->Dst;
        int imm = (int)op->Imm;
        Vector128<byte> low = TOperation.Apply(Vector128.Load(a), b.GetLower(), imm);
        Vector128<byte> high = TOperation.Apply(Vector128.Load(a + 16), b.GetUpper(), imm >> TOperation.UpperShift);
        low.Store(destination);
        high.Store(destination + 16);
        return Status.Next;
    }

    private static int RunWide<TOperation, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOperation : IVectorWide where TSource : ISource
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load256(cpu, s, op, out Vector256<byte> b))
            return Status.Fault;
        TOperation.Apply(Vector256.Load((byte*)s + op->Src2), b, (int)op->Imm).Store((byte*)s + op->Dst);
        return Status.Next;
    }

    private static int RunTruncated<TOperation, TEncoding, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOperation : IVectorWide where TEncoding : IEncoding where TSource : ISource
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load(cpu, s, op, out Vector128<byte> b))
            return Status.Fault;
        TEncoding.Write(s, op->Dst, TOperation.Apply(default, b.ToVector256(), (int)op->Imm).GetLower());
        return Status.Next;
    }

    private static int RunTernary<TOperation, TEncoding, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOperation : IVectorTernary where TEncoding : IEncoding where TSource : ISource
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load(cpu, s, op, out Vector128<byte> b))
            return Status.Fault;
        TEncoding.Write(s, op->Dst, TOperation.Apply(Vector128.Load((byte*)s + op->Src2), b, Vector128.Load((byte*)s + op->Imm)));
        return Status.Next;
    }

    private static int RunTernary256<TOperation, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOperation : IVectorTernary where TSource : ISource
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load256(cpu, s, op, out Vector256<byte> b))
            return Status.Fault;
        byte* a = (byte*)s + op->Src2, c = (byte*)s + op->Imm, destination = (byte*)s + op->Dst;
        Vector128<byte> low = TOperation.Apply(Vector128.Load(a), b.GetLower(), Vector128.Load(c));
        Vector128<byte> high = TOperation.Apply(Vector128.Load(a + 16), b.GetUpper(), Vector128.Load(c + 16));
        low.Store(destination);
        high.Store(destination + 16);
        return Status.Next;
    }

    /// <summary>An operation without an immediate as one that ignores it.</summary>
    internal readonly struct Plain<TOperation> : IVectorImmediate where TOperation : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) => TOperation.Apply(a, b);
    }

    /// <summary>MMX form of packs and horizontal sums: the 128-bit operation on both operands side by side gives the result in its low half.</summary>
    internal readonly struct Joined<TOperation> : IVectorBinary where TOperation : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<byte> both = Vector128.Create(a.GetLower(), b.GetLower());
            return TOperation.Apply(both, both);
        }
    }

    /// <summary>MMX form of an unpack of high halves: the upper half of the low unpack.</summary>
    internal readonly struct UpperOf<TOperation> : IVectorBinary where TOperation : IVectorBinary
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => TOperation.Apply(a, b).GetUpper().ToVector128();
    }
}
