using System.Buffers.Binary;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>BSWAP and MOVBE.</summary>
public static unsafe class ByteSwap
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Bswap, &BindSwap);
        r.Add(Mnemonic.Movbe, &BindMove);
    }

    private static bool BindSwap(ref OpBuilder b)
    {
        b.Op->Dst = b.Offset(0);
        b.Op->Run = b.RegisterSize(0) switch { 2 => &Swap16, 4 => &Swap32, _ => &Swap64 };
        return true;
    }

    /// <summary>Undefined by the manuals; processors clear the register's low half.</summary>
    private static int Swap16(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        *(ushort*)((byte*)s + op->Dst) = 0;
        return Status.Next;
    }

    private static int Swap32(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong* register = (ulong*)((byte*)s + op->Dst);
        *register = BinaryPrimitives.ReverseEndianness((uint)*register);
        return Status.Next;
    }

    private static int Swap64(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong* register = (ulong*)((byte*)s + op->Dst);
        *register = BinaryPrimitives.ReverseEndianness(*register);
        return Status.Next;
    }

    private static bool BindMove(ref OpBuilder b)
    {
        bool load = b.IsRegister(0);
        if (load)
            b.Op->Dst = b.Offset(0);
        else
            b.Op->Src = b.Offset(1);
        b.Memory();
        b.Op->Run = b.OperandSize() switch
        {
            2 => load ? &Load<W16> : &Store<W16>,
            4 => load ? &Load<W32> : &Store<W32>,
            _ => load ? &Load<W64> : &Store<W64>,
        };
        return b.Model.Has(Feature.Movbe);
    }

    private static ulong Reverse<TWidth>(ulong value) where TWidth : IWidth => BinaryPrimitives.ReverseEndianness(value) >> (64 - TWidth.Bits);

    private static int Load<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        if (!General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) || !GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        TWidth.SetRegister((byte*)s + op->Dst, Reverse<TWidth>(value));
        return Status.Next;
    }

    private static int Store<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth =>
        General.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            && GuestAccess.Store<TWidth>(cpu, s, op, linear, Reverse<TWidth>(TWidth.Get((byte*)s + op->Src))) ? Status.Next : Status.Fault;
}
