using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Where the last source operand (the r/m operand) comes from, as a type argument of a handler.</summary>
internal unsafe interface ISource
{
    /// <summary>False: a fault is pending.</summary>
    static abstract bool Load(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector128<byte> value);

    /// <summary>The 256-bit form. False: a fault is pending.</summary>
    static abstract bool Load256(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector256<byte> value);
}

/// <summary>The address form chosen at run time: for handlers that are not worth one copy per form.</summary>
internal readonly unsafe struct AnyAddress : IAddress
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Linear(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear) =>
        (op->Flags & OpFlags.Flat) != 0
            ? Flat64.Linear(cpu, s, op, size, write, out linear)
            : General.Linear(cpu, s, op, size, write, out linear);

    public static bool LinearAt(SoftwareVcpu cpu, CpuState* s, Op* op, ulong delta, int size, bool write, out ulong linear) =>
        (op->Flags & OpFlags.Flat) != 0
            ? Flat64.LinearAt(cpu, s, op, delta, size, write, out linear)
            : General.LinearAt(cpu, s, op, delta, size, write, out linear);
}

/// <summary>A register.</summary>
internal readonly unsafe struct InRegister : ISource
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    [MethodImpl(Inline)]
    public static bool Load(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector128<byte> value)
    {
        value = Vector128.Load((byte*)s + op->Src);
        return true;
    }

    [MethodImpl(Inline)]
    public static bool Load256(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector256<byte> value)
    {
        value = Vector256.Load((byte*)s + op->Src);
        return true;
    }
}

/// <summary>Memory of the vector's full width, anywhere.</summary>
internal readonly unsafe struct InMemory<TAddress> : ISource where TAddress : IAddress
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    [MethodImpl(Inline)]
    public static bool Load(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector128<byte> value)
    {
        value = default;
        return TAddress.Linear(cpu, s, op, 16, write: false, out ulong linear) && GuestAccess.Load128(cpu, s, op, linear, out value);
    }

    [MethodImpl(Inline)]
    public static bool Load256(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector256<byte> value)
    {
        value = default;
        return TAddress.Linear(cpu, s, op, 32, write: false, out ulong linear) && GuestAccess.Load256(cpu, s, op, linear, out value);
    }
}

/// <summary>Memory of the vector's full width that must be aligned to it: MOVAPS and its like.</summary>
internal readonly unsafe struct InAlignedMemory<TAddress> : ISource where TAddress : IAddress
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    [MethodImpl(Inline)]
    public static bool Load(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector128<byte> value)
    {
        value = default;
        bool inSegment = TAddress.Linear(cpu, s, op, 16, write: false, out ulong linear);
        return Alignment.Check(cpu, linear, 16)
            && inSegment
            && GuestAccess.Load128(cpu, s, op, linear, out value);
    }

    [MethodImpl(Inline)]
    public static bool Load256(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector256<byte> value)
    {
        value = default;
        bool inSegment = TAddress.Linear(cpu, s, op, 32, write: false, out ulong linear);
        return Alignment.Check(cpu, linear, 32)
            && inSegment
            && GuestAccess.Load256(cpu, s, op, linear, out value);
    }
}

/// <summary>The 16-byte memory operand of a legacy SSE operation: aligned, unless MXCSR.MM says otherwise (AMD64 APM Vol. 1, 4.4.4).</summary>
internal readonly unsafe struct InOperandMemory : ISource
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Load(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector128<byte> value)
    {
        value = default;
        bool inSegment = AnyAddress.Linear(cpu, s, op, 16, write: false, out ulong linear);
        return Alignment.CheckOperand(cpu, s, linear)
            && inSegment
            && GuestAccess.Load128(cpu, s, op, linear, out value);
    }

    public static bool Load256(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector256<byte> value) =>
        InMemory<AnyAddress>.Load256(cpu, s, op, out value);
}

/// <summary>Memory narrower than the vector, <see cref="Op.OperandSize"/> bytes of it, zero-extended.</summary>
internal readonly unsafe struct InPartOfMemory : ISource
{
    public static bool Load(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector128<byte> value)
    {
        int size = op->OperandSize;
        value = default;
        if (!AnyAddress.Linear(cpu, s, op, size, write: false, out ulong linear))
            return false;
        if (size == 16)
            return GuestAccess.Load128(cpu, s, op, linear, out value);
        if (!GuestAccess.Load(cpu, s, op, linear, size, out ulong low))
            return false;
        value = Vector128.CreateScalar(low).AsByte();
        return true;
    }

    public static bool Load256(SoftwareVcpu cpu, CpuState* s, Op* op, out Vector256<byte> value)
    {
        bool ok = Load(cpu, s, op, out Vector128<byte> low);
        value = low.ToVector256();
        return ok;
    }
}

/// <summary>Alignment rules of vector memory operands: a breach is #GP(0), before any page fault and before #SS of the limit.</summary>
/// <remarks>So callers compute the address, check alignment, and only then look at what the segment check said: the later refusal replaces the earlier.</remarks>
internal static unsafe class Alignment
{
    /// <summary>MXCSR.MM, misaligned exception mask.</summary>
    private const uint MisalignedMask = 1 << 17;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Check(SoftwareVcpu cpu, ulong linear, uint alignment) => (linear & (alignment - 1)) == 0 || Refuse(cpu);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool CheckOperand(SoftwareVcpu cpu, CpuState* s, ulong linear) =>
        (linear & 15) == 0 || (s->Mxcsr & MisalignedMask) != 0 || Refuse(cpu);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Refuse(SoftwareVcpu cpu)
    {
        cpu.GeneralProtection();
        return false;
    }
}
