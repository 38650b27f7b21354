using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// What an encoding demands of the machine and how it writes a register: MMX, legacy SSE or VEX, as a type argument of a handler.
/// </summary>
/// <remarks>
/// The check stands at the head of every handler, not in the block's key: it is two or three loads, and CR0.TS changes with every task switch
/// of an old kernel.
/// </remarks>
internal unsafe interface IEncoding
{
    /// <summary>False: the instruction is refused now, and the fault is pending.</summary>
    static abstract bool Ready(SoftwareVcpu cpu, CpuState* s);

    /// <summary>Writes a destination register.</summary>
    static abstract void Write(CpuState* s, int offset, Vector128<byte> value);

    /// <summary>What reading a register of this encoding does besides: MMX takes over the x87 stack. Call after the last fault.</summary>
    static abstract void Touch(CpuState* s);
}

/// <summary>Legacy SSE: the upper half of the YMM register stays.</summary>
internal readonly unsafe struct Sse : IEncoding
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    [MethodImpl(Inline)]
    public static bool Ready(SoftwareVcpu cpu, CpuState* s) => ((s->Cr0 & (Cr0.Em | Cr0.Ts)) | (~s->Cr4 & Cr4.OsFxsr)) == 0 || Refuse(cpu, s);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Refuse(SoftwareVcpu cpu, CpuState* s)
    {
        bool undefined = (s->Cr0 & Cr0.Em) != 0 || (s->Cr4 & Cr4.OsFxsr) == 0;
        cpu.Fault(undefined ? Vector.InvalidOpcode : Vector.DeviceNotAvailable);
        return false;
    }

    [MethodImpl(Inline)]
    public static void Write(CpuState* s, int offset, Vector128<byte> value) => value.Store((byte*)s + offset);

    [MethodImpl(Inline)]
    public static void Touch(CpuState* s) { }
}

/// <summary>VEX.128 writes zero the upper half; the checks are those of VEX.256 too.</summary>
internal readonly unsafe struct Vex : IEncoding
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    private const ulong AvxState = 6;

    [MethodImpl(Inline)]
    public static bool Ready(SoftwareVcpu cpu, CpuState* s) => (Missing(s) | (s->Cr0 & Cr0.Ts)) == 0 || Refuse(cpu, s);

    /// <summary>What makes VEX encodings undefined: real and virtual-8086 mode, and state that the system has not enabled.</summary>
    [MethodImpl(Inline)]
    private static ulong Missing(CpuState* s) =>
        (~s->Cr0 & Cr0.Pe) | (~s->Cr4 & Cr4.OsXsave) | (~s->Xcr0 & AvxState) | (s->RFlags & Rflags.Vm);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Refuse(SoftwareVcpu cpu, CpuState* s)
    {
        cpu.Fault(Missing(s) != 0 ? Vector.InvalidOpcode : Vector.DeviceNotAvailable);
        return false;
    }

    [MethodImpl(Inline)]
    public static void Write(CpuState* s, int offset, Vector128<byte> value)
    {
        value.Store((byte*)s + offset);
        Vector128<byte>.Zero.Store((byte*)s + offset + 16);
    }

    [MethodImpl(Inline)]
    public static void Touch(CpuState* s) { }
}

/// <summary>MMX: the significands of the x87 registers. Every instruction but EMMS marks them all valid and sets TOP to 0 (SDM Vol. 1, 9.5.1).</summary>
internal readonly unsafe struct Mmx : IEncoding
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    private const uint ErrorSummary = 1 << 7;

    [MethodImpl(Inline)]
    public static bool Ready(SoftwareVcpu cpu, CpuState* s) => ((s->Cr0 & (Cr0.Em | Cr0.Ts)) | (s->Fsw & ErrorSummary)) == 0 || ReadySlow(cpu, s);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool ReadySlow(SoftwareVcpu cpu, CpuState* s)
    {
        if ((s->Cr0 & (Cr0.Em | Cr0.Ts)) == 0)
            return X87.NothingPending(cpu, s);
        cpu.Fault((s->Cr0 & Cr0.Em) != 0 ? Vector.InvalidOpcode : Vector.DeviceNotAvailable);
        return false;
    }

    [MethodImpl(Inline)]
    public static void Write(CpuState* s, int offset, Vector128<byte> value)
    {
        byte* register = (byte*)s + offset;
        *(ulong*)register = value.AsUInt64().ToScalar();
        *(ushort*)(register + 8) = 0xFFFF;
        Touch(s);
    }

    [MethodImpl(Inline)]
    public static void Touch(CpuState* s)
    {
        s->FpuTop = 0;
        s->FpuTags = 0xFF;
    }
}
