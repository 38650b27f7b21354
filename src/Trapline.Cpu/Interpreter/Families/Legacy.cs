using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Old instructions of the accumulator and of arrays: XLAT, SALC, BOUND.</summary>
public static unsafe class Legacy
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Xlatb, &BindTranslate);
        r.Add(Mnemonic.Salc, &BindCarryMask);
        r.Add(Mnemonic.Bound, &BindBound);
    }

    private static bool BindTranslate(ref OpBuilder b)
    {
        // Iced shows the operand as [rBX + AL]: the index is a byte, so the address is made here.
        b.Op->Segment = (byte)OpBuilder.SegmentNumber(b.Instruction.MemorySegment);
        b.Op->AddressSize = (byte)b.Instruction.MemoryBase.GetSize();
        b.Op->Run = &Translate;
        return true;
    }

    private static int Translate(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong offset = General.Truncate(s->Gpr[3] + (byte)s->Gpr[0], op->AddressSize);
        if (!cpu.SegmentLinear(op->Segment, offset, 1, write: false, out ulong linear) || !GuestAccess.Load<W8>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        W8.SetRegister(&s->Gpr[0], value);
        return Status.Next;
    }

    private static bool BindCarryMask(ref OpBuilder b)
    {
        b.Op->Run = &CarryMask;
        return true;
    }

    private static int CarryMask(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        *(byte*)s->Gpr = Flags.Carry(s) ? (byte)0xFF : (byte)0;
        return Status.Next;
    }

    private static bool BindBound(ref OpBuilder b)
    {
        b.Op->Src = b.Offset(0);
        b.Memory();
        b.Op->Run = b.RegisterSize(0) == 2 ? &Bound<W16> : &Bound<W32>;
        return true;
    }

    /// <summary>#BR unless the signed index lies between the two bounds in memory, ends included.</summary>
    private static int Bound<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        if (!General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong first)
            || !GuestAccess.Load<TWidth>(cpu, s, op, first, out ulong lower)
            || !General.LinearAt(cpu, s, op, (ulong)TWidth.Bytes, TWidth.Bytes, write: false, out ulong second)
            || !GuestAccess.Load<TWidth>(cpu, s, op, second, out ulong upper))
            return Status.Fault;
        long index = (long)TWidth.SignExtend(TWidth.Get((byte*)s + op->Src));
        return index < (long)TWidth.SignExtend(lower) || index > (long)TWidth.SignExtend(upper) ? cpu.Fault(Vector.BoundRange) : Status.Next;
    }
}
