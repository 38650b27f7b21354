using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>How a memory operand's linear address is computed, as a type argument.</summary>
public unsafe interface IAddress
{
    /// <summary>False: a segment check failed and the fault is pending.</summary>
    static abstract bool Linear(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear);

    /// <summary>The same, <paramref name="delta"/> bytes further on (bit strings).</summary>
    static abstract bool LinearAt(SoftwareVcpu cpu, CpuState* s, Op* op, ulong delta, int size, bool write, out ulong linear);
}

/// <summary>64-bit code with 64-bit addressing: no limits; only FS and GS have bases.</summary>
public readonly unsafe struct Flat64 : IAddress
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Linear(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear)
    {
        linear = s->Gpr[op->Base] + (s->Gpr[op->Index] << op->Scale) + op->Disp + s->AddressBase[op->Segment];
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool LinearAt(SoftwareVcpu cpu, CpuState* s, Op* op, ulong delta, int size, bool write, out ulong linear)
    {
        linear = s->Gpr[op->Base] + (s->Gpr[op->Index] << op->Scale) + op->Disp + s->AddressBase[op->Segment] + delta;
        return true;
    }
}

/// <summary>32-bit code with flat segments and 32-bit addressing (<see cref="BlockMode.Flat"/>; never FS or GS).</summary>
public readonly unsafe struct Flat32 : IAddress
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Linear(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear)
    {
        linear = (uint)(s->Gpr[op->Base] + (s->Gpr[op->Index] << op->Scale) + op->Disp);
        // A flat 4 GiB segment still ends at its limit: an operand must not wrap (SDM Vol. 3, 5.3).
        return linear + (uint)size <= 0x1_0000_0000 || cpu.SegmentFault(op->Segment);
    }

    public static bool LinearAt(SoftwareVcpu cpu, CpuState* s, Op* op, ulong delta, int size, bool write, out ulong linear) =>
        General.LinearAt(cpu, s, op, delta, size, write, out linear);
}

/// <summary>Everything else: any address size, segment limits and types.</summary>
public readonly unsafe struct General : IAddress
{
    public static bool Linear(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear) =>
        cpu.SegmentLinear(op->Segment, Offset(s, op), size, write, out linear);

    public static bool LinearAt(SoftwareVcpu cpu, CpuState* s, Op* op, ulong delta, int size, bool write, out ulong linear) =>
        cpu.SegmentLinear(op->Segment, Truncate(Offset(s, op) + delta, op->AddressSize), size, write, out linear);

    /// <summary>The effective address (the offset within the segment): what LEA computes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Offset(CpuState* s, Op* op)
    {
        ulong offset = s->Gpr[op->Base] + (s->Gpr[op->Index] << op->Scale) + op->Disp;
        return Truncate(offset, op->AddressSize);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Truncate(ulong offset, int addressSize) => addressSize == 8 ? offset : addressSize == 4 ? (uint)offset : (ushort)offset;
}
