using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// SSE, AVX, FMA and F16C floating point: what all instructions share. Legacy and VEX forms run in the same handlers; they differ in which register
/// is the first source, in what happens to the destination's upper bits, and in the checks before.
/// </summary>
/// <remarks>
/// Op fields: Dst the destination, Src2 the first source (the destination itself in legacy forms), Src the second source unless it is in memory;
/// OperandSize the bytes of the memory operand; Imm the immediate.
/// Results are built in a local buffer and written last, so that an unmasked exception (#XM) leaves registers as they were (SDM Vol. 1, 11.5).
/// </remarks>
[SkipLocalsInit]
public static unsafe partial class SseFloat
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        RegisterArithmetic(r);
        RegisterMultiplyAdd(r);
        RegisterCompares(r);
        RegisterConversions(r);
    }

    /// <summary>An element's format as a type argument.</summary>
    private interface IElement
    {
        static abstract int Bytes { get; }
    }

    private readonly struct Single : IElement
    {
        public static int Bytes { [MethodImpl(Inline)] get => 4; }
    }

    private readonly struct Double : IElement
    {
        public static int Bytes { [MethodImpl(Inline)] get => 8; }
    }

    [MethodImpl(Inline)]
    private static bool IsSingle<TElement>() where TElement : IElement => typeof(TElement) == typeof(Single);

    [MethodImpl(Inline)]
    private static ulong Get<TElement>(byte* p) where TElement : IElement => IsSingle<TElement>() ? *(uint*)p : *(ulong*)p;

    [MethodImpl(Inline)]
    private static void Put<TElement>(byte* p, ulong value) where TElement : IElement
    {
        if (IsSingle<TElement>())
            *(uint*)p = (uint)value;
        else
            *(ulong*)p = value;
    }

    /// <summary>Fills the operand fields. False: the model has not the feature.</summary>
    private static bool Prepare(ref OpBuilder b)
    {
        if (!IsSupported(ref b))
            return false;
        Op* op = b.Op;
        int count = b.Instruction.OpCount;
        if (b.Instruction.Code.Encoding() == EncodingKind.VEX)
            op->Flags |= OpFlags.Vex;
        int registers = 0;
        for (int i = 0; i < count; i++)
        {
            switch (b.Kind(i))
            {
                case OpKind.Register:
                    Register register = b.Instruction.GetOpRegister(i);
                    if (register.IsYMM())
                        op->Flags |= OpFlags.Wide;
                    ushort offset = b.Offset(i);
                    if (i == 0)
                        op->Dst = op->Src2 = op->Src = offset;
                    else if (i == 1 && count > 2 && (op->Flags & OpFlags.Vex) != 0 && !IsImmediate(ref b, 2))
                        op->Src2 = offset;
                    else
                        op->Src = offset;
                    registers++;
                    break;
                case OpKind.Memory:
                    if (b.Memory() == AddressForm.Flat64)
                        op->Flags |= OpFlags.Flat;
                    op->OperandSize = (byte)b.Instruction.MemorySize.GetSize();
                    if (op->OperandSize == 32)
                        op->Flags |= OpFlags.Wide;
                    break;
                default:
                    op->Imm = b.Instruction.Immediate8;
                    break;
            }
        }
        return true;
    }

    private static bool IsImmediate(ref OpBuilder b, int operand) => b.Kind(operand) is OpKind.Immediate8;

    private static bool IsSupported(ref OpBuilder b)
    {
        foreach (CpuidFeature feature in b.Instruction.Code.CpuidFeatures())
        {
            bool has = feature switch
            {
                CpuidFeature.SSE => b.Model.Has(Feature.Sse),
                CpuidFeature.SSE2 => b.Model.Has(Feature.Sse2),
                CpuidFeature.SSE3 => b.Model.Has(Feature.Sse3),
                CpuidFeature.SSE4_1 => b.Model.Has(Feature.Sse41),
                CpuidFeature.AVX => b.Model.Has(Feature.Avx),
                CpuidFeature.FMA => b.Model.Has(Feature.Fma),
                CpuidFeature.F16C => b.Model.Has(Feature.F16c),
                _ => true,
            };
            if (!has)
                return false;
        }
        return true;
    }

    /// <summary>#UD and #NM before anything else (SDM Vol. 2, 2.7 for VEX; Vol. 3, 13.1 for legacy). False: a fault is pending.</summary>
    [MethodImpl(Inline)]
    private static bool Begin(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        bool ready = (op->Flags & OpFlags.Vex) == 0
            ? (s->Cr0 & (Cr0.Em | Cr0.Ts)) == 0 && (s->Cr4 & Cr4.OsFxsr) != 0
            : (s->Cr0 & (Cr0.Pe | Cr0.Ts)) == Cr0.Pe && (s->Cr4 & Cr4.OsXsave) != 0 && (s->Xcr0 & 6) == 6 && (s->RFlags & Rflags.Vm) == 0;
        return ready || BeginFault(cpu, s, op);
    }

    private static bool BeginFault(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        bool defined = (op->Flags & OpFlags.Vex) == 0
            ? (s->Cr0 & Cr0.Em) == 0 && (s->Cr4 & Cr4.OsFxsr) != 0
            : (s->Cr0 & Cr0.Pe) != 0 && (s->RFlags & Rflags.Vm) == 0 && (s->Cr4 & Cr4.OsXsave) != 0 && (s->Xcr0 & 6) == 6;
        cpu.Fault(defined ? Vector.DeviceNotAvailable : Vector.InvalidOpcode);
        return false;
    }

    [MethodImpl(Inline)]
    private static bool Address(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear) =>
        (op->Flags & OpFlags.Flat) != 0
            ? Flat64.Linear(cpu, s, op, size, write, out linear)
            : General.Linear(cpu, s, op, size, write, out linear);

    /// <summary>The second source: the register's place, or <paramref name="buffer"/> filled from memory. Null: a fault is pending.</summary>
    [MethodImpl(Inline)]
    private static byte* Operand(SoftwareVcpu cpu, CpuState* s, Op* op, byte* buffer) =>
        (op->Flags & OpFlags.Memory) == 0 ? (byte*)s + op->Src : LoadOperand(cpu, s, op, buffer);

    private static byte* LoadOperand(SoftwareVcpu cpu, CpuState* s, Op* op, byte* buffer)
    {
        int size = op->OperandSize;
        bool inSegment = Address(cpu, s, op, size, write: false, out ulong linear);
        // Legacy 16-byte operands must be aligned (SDM Vol. 1, 10.4.1.1); no floating-point instruction is exempt. This comes before #SS.
        if (size == 16 && (op->Flags & OpFlags.Vex) == 0 && (linear & 15) != 0)
        {
            cpu.GeneralProtection();
            return null;
        }
        if (!inSegment)
            return null;
        byte* p = GuestAccess.ReadPointer(s, linear, size);
        if (p == null)
            return cpu.TransferSlow(linear, buffer, size, op->Segment, store: false) ? buffer : null;
        Unsafe.CopyBlockUnaligned(buffer, p, (uint)size);
        return buffer;
    }

    /// <summary>How many bytes the vector has.</summary>
    [MethodImpl(Inline)]
    private static int VectorBytes(Op* op) => (op->Flags & OpFlags.Wide) != 0 ? 32 : 16;

    /// <summary>Updates MXCSR. False: an exception is unmasked and #XM pending (or #UD, when the system does not expect #XM).</summary>
    [MethodImpl(Inline)]
    private static bool Commit(SoftwareVcpu cpu, CpuState* s, in FloatStatus status) => status.Raised == 0 || CommitRaised(cpu, s, status);

    private static bool CommitRaised(SoftwareVcpu cpu, CpuState* s, in FloatStatus status)
    {
        FloatExceptions raised = status.Raised;
        FloatExceptions unmasked = status.Unmasked;
        // One element found at fault beforehand stops the computation of all (SDM Vol. 1, 11.5.2).
        if ((unmasked & FloatExceptions.PreComputation) != 0)
            raised &= FloatExceptions.PreComputation;
        s->Mxcsr |= (uint)raised;
        if (unmasked == 0)
            return true;
        cpu.Fault((s->Cr4 & Cr4.OsXmmExcpt) != 0 ? Vector.SimdError : Vector.InvalidOpcode);
        return false;
    }

    /// <summary>Writes a whole vector: 16 bytes, and in VEX forms zeros above them unless the vector has 32.</summary>
    [MethodImpl(Inline)]
    private static void WriteVector(CpuState* s, Op* op, byte* result)
    {
        ulong* to = (ulong*)((byte*)s + op->Dst);
        ulong* from = (ulong*)result;
        to[0] = from[0];
        to[1] = from[1];
        if ((op->Flags & OpFlags.Vex) == 0)
            return;
        bool wide = (op->Flags & OpFlags.Wide) != 0;
        to[2] = wide ? from[2] : 0;
        to[3] = wide ? from[3] : 0;
    }

    /// <summary>Writes the low element; the rest comes from the first source, with zeros above 16 bytes in VEX forms.</summary>
    [MethodImpl(Inline)]
    private static void WriteScalar<TElement>(CpuState* s, Op* op, ulong value) where TElement : IElement
    {
        byte* to = (byte*)s + op->Dst;
        if ((op->Flags & OpFlags.Vex) != 0)
        {
            ulong* first = (ulong*)((byte*)s + op->Src2);
            ulong low = first[0], high = first[1];
            ((ulong*)to)[0] = low;
            ((ulong*)to)[1] = high;
            ((ulong*)to)[2] = 0;
            ((ulong*)to)[3] = 0;
        }
        Put<TElement>(to, value);
    }

    /// <summary>ZF, PF and CF from a comparison; OF, SF and AF are cleared (SDM COMISS, FCOMI).</summary>
    internal static void SetFlags(CpuState* s, FloatRelation relation) => Flags.SetArithmetic(s, relation switch
    {
        FloatRelation.Unordered => Rflags.Zf | Rflags.Pf | Rflags.Cf,
        FloatRelation.Less => Rflags.Cf,
        FloatRelation.Equal => Rflags.Zf,
        _ => 0,
    });
}
