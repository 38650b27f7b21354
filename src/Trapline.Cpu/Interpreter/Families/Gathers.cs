using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>VGATHERxPS/PD and VPGATHERxD/Q: each chosen element from an address of its own.</summary>
/// <remarks>
/// A fault leaves the elements below it done: they are in the destination and their mask is zero, chosen or not, so that the instruction goes on where it
/// stopped, and traps of the elements done are delivered in lieu of the fault (SDM Vol. 2, VPGATHERDD). Dst is the destination, Src the index vector, Src2 the mask, Imm the number of elements.
/// </remarks>
internal static unsafe class Gathers
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Vpgatherdd, &Bind<W32, W32>);
        r.Add(Mnemonic.Vgatherdps, &Bind<W32, W32>);
        r.Add(Mnemonic.Vpgatherdq, &Bind<W64, W32>);
        r.Add(Mnemonic.Vgatherdpd, &Bind<W64, W32>);
        r.Add(Mnemonic.Vpgatherqd, &Bind<W32, W64>);
        r.Add(Mnemonic.Vgatherqps, &Bind<W32, W64>);
        r.Add(Mnemonic.Vpgatherqq, &Bind<W64, W64>);
        r.Add(Mnemonic.Vgatherqpd, &Bind<W64, W64>);
    }

    private static bool Bind<TData, TIndex>(ref OpBuilder b) where TData : IWidth where TIndex : IWidth
    {
        Iced.Intel.Register destination = b.Instruction.Op0Register, index = b.Instruction.MemoryIndex, mask = b.Instruction.Op2Register;
        if (!VectorForms.Gate(ref b) || Same(destination, index) || Same(destination, mask) || Same(index, mask))
            return false;
        VectorForms.FillMemory(ref b);
        b.Op->Dst = b.Offset(0);
        b.Op->Src = OpBuilder.Offset(index);
        b.Op->Src2 = b.Offset(2);
        b.Op->Index = OpBuilder.NoRegister;
        Iced.Intel.Register based = b.Instruction.MemoryBase;
        b.Op->AddressSize = (byte)(based != Iced.Intel.Register.None ? based.GetSize() : b.Is64 && b.Instruction.MemoryDisplSize == 8 ? 8 : 4);
        b.Op->Imm = (ulong)Math.Min(index.GetSize() / TIndex.Bytes, destination.GetSize() / TData.Bytes);
        b.Op->Run = &Run<TData, TIndex>;
        return true;
    }

    private static bool Same(Iced.Intel.Register a, Iced.Intel.Register b) => a.GetNumber() == b.GetNumber();

    private static int Run<TData, TIndex>(SoftwareVcpu cpu, CpuState* s, Op* op) where TData : IWidth where TIndex : IWidth
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        byte* destination = (byte*)s + op->Dst, mask = (byte*)s + op->Src2, indices = (byte*)s + op->Src;
        int size = (int)op->Imm * TData.Bytes;
        bool progress = false;
        for (int i = 0; i < (int)op->Imm; i++)
        {
            int at = i * TData.Bytes;
            if ((mask[at + TData.Bytes - 1] & 0x80) == 0)
            {
                TData.Set(mask + at, 0);
                continue;
            }
            ulong index = TIndex.SignExtend(TIndex.Get(indices + i * TIndex.Bytes));
            ulong offset = General.Truncate(s->Gpr[op->Base] + (index << op->Scale) + op->Disp, op->AddressSize);
            if (!cpu.SegmentLinear(op->Segment, offset, TData.Bytes, write: false, out ulong linear)
                || !GuestAccess.Load<TData>(cpu, s, op, linear, out ulong element))
                return progress && cpu.TrapInsteadOfFault(op) ? Status.BlockEnd : Status.Fault;
            TData.Set(destination + at, element);
            TData.Set(mask + at, 0);
            progress = true;
        }
        Vector256<byte>.Zero.Store(mask);
        for (int at = size; at < 32; at += 8)
            *(ulong*)(destination + at) = 0;
        return Status.Next;
    }
}
