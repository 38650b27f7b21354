using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// Moves of chosen elements: VMASKMOVPS/PD, VPMASKMOVD/Q, MASKMOVQ, MASKMOVDQU. Elements whose mask bit is clear are not accessed and cannot fault,
/// except those of the last two.
/// </summary>
internal static unsafe class MaskedMoves
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Vmaskmovps, &Bind<W32>);
        r.Add(Mnemonic.Vpmaskmovd, &Bind<W32>);
        r.Add(Mnemonic.Vmaskmovpd, &Bind<W64>);
        r.Add(Mnemonic.Vpmaskmovq, &Bind<W64>);
        r.Add(Mnemonic.Maskmovq, &BindBytes);
        r.Add(Mnemonic.Maskmovdqu, &BindBytes);
        r.Add(Mnemonic.Vmaskmovdqu, &BindBytes);
    }

    /// <summary>Src is the data, Src2 the mask.</summary>
    private static bool Bind<TWidth>(ref OpBuilder b) where TWidth : IWidth
    {
        if (!VectorForms.Gate(ref b))
            return false;
        b.Op->Src2 = b.Offset(1);
        VectorForms.FillMemory(ref b);
        b.Op->OperandSize = (byte)((b.Op->Flags & OpFlags.Wide) != 0 ? 32 : 16);
        if (b.IsMemory(0))
        {
            b.Op->Src = b.Offset(2);
            b.Op->Run = &Store<TWidth>;
        }
        else
        {
            b.Op->Dst = b.Offset(0);
            b.Op->Run = &Load<TWidth>;
        }
        return true;
    }

    /// <summary>The address is DS:rDI, with the usual segment override.</summary>
    private static bool BindBytes(ref OpBuilder b)
    {
        if (!VectorForms.Gate(ref b))
            return false;
        bool mmx = b.Instruction.Op1Register.IsMM();
        b.Op->Src = b.Offset(1);
        b.Op->Src2 = b.Offset(2);
        b.Op->OperandSize = (byte)(mmx ? 8 : 16);
        b.Op->Base = 7;
        b.Op->AddressSize = (byte)(b.Kind(0) switch { OpKind.MemorySegDI => 2, OpKind.MemorySegEDI => 4, _ => 8 });
        b.Op->Segment = (byte)OpBuilder.SegmentNumber(b.Instruction.MemorySegment);
        b.Op->Flags |= OpFlags.Memory | (b.Op->AddressSize == 8 ? OpFlags.Flat : 0);
        b.Op->Run = mmx ? &StoreBytes<Mmx> : (b.Op->Flags & OpFlags.Vex) != 0 ? &StoreBytes<Vex> : &StoreBytes<Sse>;
        return true;
    }

    private static bool Chosen<TWidth>(byte* mask, int at) where TWidth : IWidth => (mask[at + TWidth.Bytes - 1] & 0x80) != 0;

    private static int Load<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        Vector256<byte> result = default;
        byte* mask = (byte*)s + op->Src2;
        for (int at = 0; at < op->OperandSize; at += TWidth.Bytes)
        {
            if (!Chosen<TWidth>(mask, at))
                continue;
            if (!AnyAddress.LinearAt(cpu, s, op, (ulong)at, TWidth.Bytes, write: false, out ulong linear)
                || !GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong element))
                return Status.Fault;
            TWidth.Set((byte*)&result + at, element);
        }
        result.Store((byte*)s + op->Dst);
        return Status.Next;
    }

    private static int Store<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        byte* mask = (byte*)s + op->Src2, data = (byte*)s + op->Src;
        // Two passes: the first finds every fault, so that none comes after the first byte is written.
        for (int at = 0; at < op->OperandSize; at += TWidth.Bytes)
            if (Chosen<TWidth>(mask, at)
                && (!AnyAddress.LinearAt(cpu, s, op, (ulong)at, TWidth.Bytes, write: true, out ulong linear)
                    || (GuestAccess.WritePointer(s, linear, TWidth.Bytes) == null && !cpu.Probe(linear, TWidth.Bytes, op->Segment, write: true))))
                return Status.Fault;
        for (int at = 0; at < op->OperandSize; at += TWidth.Bytes)
            if (Chosen<TWidth>(mask, at)
                && (!AnyAddress.LinearAt(cpu, s, op, (ulong)at, TWidth.Bytes, write: true, out ulong linear)
                    || !GuestAccess.Store<TWidth>(cpu, s, op, linear, TWidth.Get(data + at))))
                return Status.Fault;
        return Status.Next;
    }

    /// <summary>
    /// MASKMOVQ and MASKMOVDQU. Whether bytes not chosen can fault is the implementation's choice (SDM Vol. 2, MASKMOVDQU); here, as on AMD processors,
    /// they do, and MASKMOVQ takes over the x87 stack even if its store then faults.
    /// </summary>
    private static int StoreBytes<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        TEncoding.Touch(s);
        byte* mask = (byte*)s + op->Src2, data = (byte*)s + op->Src;
        int size = op->OperandSize;
        if (!AnyAddress.Linear(cpu, s, op, size, write: true, out ulong linear)
            || (GuestAccess.WritePointer(s, linear, size) == null && !cpu.Probe(linear, size, op->Segment, write: true)))
            return Status.Fault;
        for (int at = 0; at < size; at++)
            if (Chosen<W8>(mask, at) && !GuestAccess.Store<W8>(cpu, s, op, linear + (ulong)at, data[at]))
                return Status.Fault;
        return Status.Next;
    }
}
