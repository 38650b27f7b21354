using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Trapline.Cpu.Mmu;

namespace Trapline.Cpu.Interpreter;

/// <summary>Loads and stores at linear addresses: a soft-TLB probe inline, everything else in <see cref="SoftwareVcpu"/>'s slow path.</summary>
/// <remarks>A false or null return means a fault is pending (for <see cref="WritePointer"/>: take the slow path).</remarks>
public static unsafe class GuestAccess
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    /// <summary>Host address of <paramref name="size"/> readable bytes, or null.</summary>
    [MethodImpl(Inline)]
    public static byte* ReadPointer(CpuState* s, ulong linear, int size)
    {
        ulong* slot = s->ReadTlb + ((linear >> 12) & SoftTlb.IndexMask);
        return linear - *slot <= (ulong)(4096 - size) ? (byte*)(linear + slot[SoftTlb.Entries]) : null;
    }

    /// <summary>Host address of <paramref name="size"/> writable bytes that need no notice, or null.</summary>
    [MethodImpl(Inline)]
    public static byte* WritePointer(CpuState* s, ulong linear, int size)
    {
        ulong* slot = s->WriteTlb + ((linear >> 12) & SoftTlb.IndexMask);
        return linear - *slot <= (ulong)(4096 - size) ? (byte*)(linear + slot[SoftTlb.Entries]) : null;
    }

    [MethodImpl(Inline)]
    public static bool Load<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, out ulong value) where TWidth : IWidth
    {
        byte* p = ReadPointer(s, linear, TWidth.Bytes);
        if (p != null)
        {
            value = TWidth.Get(p);
            return true;
        }
        return cpu.LoadSlow(linear, TWidth.Bytes, op->Segment, out value);
    }

    [MethodImpl(Inline)]
    public static bool Store<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, ulong value) where TWidth : IWidth
    {
        byte* p = WritePointer(s, linear, TWidth.Bytes);
        if (p != null)
        {
            TWidth.Set(p, value);
            return true;
        }
        return cpu.StoreSlow(linear, TWidth.Bytes, op->Segment, value);
    }

    /// <summary>Width at run time: 1, 2, 4 or 8 bytes.</summary>
    public static bool Load(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, int size, out ulong value) => size switch
    {
        1 => Load<W8>(cpu, s, op, linear, out value),
        2 => Load<W16>(cpu, s, op, linear, out value),
        4 => Load<W32>(cpu, s, op, linear, out value),
        _ => Load<W64>(cpu, s, op, linear, out value),
    };

    /// <summary>Width at run time: 1, 2, 4 or 8 bytes.</summary>
    public static bool Store(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, int size, ulong value) => size switch
    {
        1 => Store<W8>(cpu, s, op, linear, value),
        2 => Store<W16>(cpu, s, op, linear, value),
        4 => Store<W32>(cpu, s, op, linear, value),
        _ => Store<W64>(cpu, s, op, linear, value),
    };

    [MethodImpl(Inline)]
    public static bool Load128(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, out Vector128<byte> value)
    {
        byte* p = ReadPointer(s, linear, 16);
        if (p != null)
        {
            value = Vector128.Load(p);
            return true;
        }
        Vector128<byte> slow = default;
        bool ok = cpu.TransferSlow(linear, (byte*)&slow, 16, op->Segment, store: false);
        value = slow;
        return ok;
    }

    [MethodImpl(Inline)]
    public static bool Store128(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, Vector128<byte> value)
    {
        byte* p = WritePointer(s, linear, 16);
        if (p != null)
        {
            value.Store(p);
            return true;
        }
        return cpu.TransferSlow(linear, (byte*)&value, 16, op->Segment, store: true);
    }

    public static bool Load256(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, out Vector256<byte> value)
    {
        byte* p = ReadPointer(s, linear, 32);
        if (p != null)
        {
            value = Vector256.Load(p);
            return true;
        }
        Vector256<byte> slow = default;
        bool ok = cpu.TransferSlow(linear, (byte*)&slow, 32, op->Segment, store: false);
        value = slow;
        return ok;
    }

    public static bool Store256(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, Vector256<byte> value)
    {
        byte* p = WritePointer(s, linear, 32);
        if (p != null)
        {
            value.Store(p);
            return true;
        }
        return cpu.TransferSlow(linear, (byte*)&value, 32, op->Segment, store: true);
    }
}
