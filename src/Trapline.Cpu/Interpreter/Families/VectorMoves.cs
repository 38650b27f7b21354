using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// Moves of whole vectors between registers and memory, aligned or not, temporal or not (the hint changes nothing here);
/// moves of the low or high part are in <see cref="VectorPartMoves"/>.
/// </summary>
internal static unsafe class VectorMoves
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        foreach (Mnemonic m in (ReadOnlySpan<Mnemonic>)[
            Mnemonic.Movups, Mnemonic.Movupd, Mnemonic.Movdqu, Mnemonic.Lddqu,
            Mnemonic.Vmovups, Mnemonic.Vmovupd, Mnemonic.Vmovdqu, Mnemonic.Vlddqu])
            r.Add(m, &Bind<Anywhere>);
        foreach (Mnemonic m in (ReadOnlySpan<Mnemonic>)[
            Mnemonic.Movaps, Mnemonic.Movapd, Mnemonic.Movdqa, Mnemonic.Movntps, Mnemonic.Movntpd, Mnemonic.Movntdq, Mnemonic.Movntdqa,
            Mnemonic.Vmovaps, Mnemonic.Vmovapd, Mnemonic.Vmovdqa, Mnemonic.Vmovntps, Mnemonic.Vmovntpd, Mnemonic.Vmovntdq, Mnemonic.Vmovntdqa])
            r.Add(m, &Bind<Aligned>);
        r.Add(Mnemonic.Vzeroupper, &BindZeroUpper);
        r.Add(Mnemonic.Vzeroall, &BindZeroAll);
    }

    /// <summary>Whether the memory operand must be aligned.</summary>
    private interface IPlacement
    {
        static abstract bool Check(SoftwareVcpu cpu, ulong linear, uint size);
    }

    private readonly struct Anywhere : IPlacement
    {
        [MethodImpl(Inline)] public static bool Check(SoftwareVcpu cpu, ulong linear, uint size) => true;
    }

    private readonly struct Aligned : IPlacement
    {
        [MethodImpl(Inline)] public static bool Check(SoftwareVcpu cpu, ulong linear, uint size) => Alignment.Check(cpu, linear, size);
    }

    private static bool Bind<TPlacement>(ref OpBuilder b) where TPlacement : IPlacement
    {
        if (!VectorForms.Gate(ref b))
            return false;
        bool vex = (b.Op->Flags & OpFlags.Vex) != 0, wide = (b.Op->Flags & OpFlags.Wide) != 0;
        if (b.IsMemory(0))
        {
            b.Op->Src = b.Offset(1);
            b.Op->Run = VectorForms.FillMemory(ref b) == AddressForm.Flat64
                ? wide ? &Store256<TPlacement, Flat64> : vex ? &Store<Vex, TPlacement, Flat64> : &Store<Sse, TPlacement, Flat64>
                : wide ? &Store256<TPlacement, General> : vex ? &Store<Vex, TPlacement, General> : &Store<Sse, TPlacement, General>;
            return true;
        }
        b.Op->Dst = b.Offset(0);
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            b.Op->Run = wide ? &Copy256 : vex ? &Copy<Vex> : &Copy<Sse>;
            return true;
        }
        b.Op->Run = VectorForms.FillMemory(ref b) == AddressForm.Flat64
            ? wide ? &Load256<TPlacement, Flat64> : vex ? &Load<Vex, TPlacement, Flat64> : &Load<Sse, TPlacement, Flat64>
            : wide ? &Load256<TPlacement, General> : vex ? &Load<Vex, TPlacement, General> : &Load<Sse, TPlacement, General>;
        return true;
    }

    private static int Copy<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        TEncoding.Write(s, op->Dst, Vector128.Load((byte*)s + op->Src));
        return Status.Next;
    }

    private static int Copy256(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        Vector256.Load((byte*)s + op->Src).Store((byte*)s + op->Dst);
        return Status.Next;
    }

    /// <summary>The operand's address; a misaligned one is refused before the segment's limit is.</summary>
    [MethodImpl(Inline)]
    private static bool Place<TPlacement, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear)
        where TPlacement : IPlacement where TAddress : IAddress
    {
        bool inSegment = TAddress.Linear(cpu, s, op, size, write, out linear);
        return TPlacement.Check(cpu, linear, (uint)size) && inSegment;
    }

    private static int Load<TEncoding, TPlacement, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TEncoding : IEncoding where TPlacement : IPlacement where TAddress : IAddress
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!Place<TPlacement, TAddress>(cpu, s, op, 16, write: false, out ulong linear)
            || !GuestAccess.Load128(cpu, s, op, linear, out Vector128<byte> value))
            return Status.Fault;
        TEncoding.Write(s, op->Dst, value);
        return Status.Next;
    }

    private static int Store<TEncoding, TPlacement, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TEncoding : IEncoding where TPlacement : IPlacement where TAddress : IAddress
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        return Place<TPlacement, TAddress>(cpu, s, op, 16, write: true, out ulong linear)
            && GuestAccess.Store128(cpu, s, op, linear, Vector128.Load((byte*)s + op->Src)) ? Status.Next : Status.Fault;
    }

    private static int Load256<TPlacement, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TPlacement : IPlacement where TAddress : IAddress
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        if (!Place<TPlacement, TAddress>(cpu, s, op, 32, write: false, out ulong linear)
            || !GuestAccess.Load256(cpu, s, op, linear, out Vector256<byte> value))
            return Status.Fault;
        value.Store((byte*)s + op->Dst);
        return Status.Next;
    }

    private static int Store256<TPlacement, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TPlacement : IPlacement where TAddress : IAddress
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        return Place<TPlacement, TAddress>(cpu, s, op, 32, write: true, out ulong linear)
            && GuestAccess.Store256(cpu, s, op, linear, Vector256.Load((byte*)s + op->Src)) ? Status.Next : Status.Fault;
    }

    private static bool BindZeroUpper(ref OpBuilder b)
    {
        b.Op->Run = &ZeroUpper;
        return VectorForms.Gate(ref b);
    }

    private static bool BindZeroAll(ref OpBuilder b)
    {
        b.Op->Run = &ZeroAll;
        return VectorForms.Gate(ref b);
    }

    /// <summary>VZEROUPPER. Outside 64-bit mode only YMM0 to YMM7 exist (SDM Vol. 2, VZEROUPPER).</summary>
    private static int ZeroUpper(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        int count = s->Is64 != 0 ? 16 : 8;
        for (int i = 0; i < count; i++)
            Vector128<ulong>.Zero.Store(&s->Ymm[i * 4 + 2]);
        return Status.Next;
    }

    private static int ZeroAll(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        int count = s->Is64 != 0 ? 16 : 8;
        for (int i = 0; i < count; i++)
            Vector256<ulong>.Zero.Store(&s->Ymm[i * 4]);
        return Status.Next;
    }
}
