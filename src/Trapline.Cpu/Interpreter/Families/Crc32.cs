using System.Numerics;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>CRC32 (the Castagnoli polynomial) of 1 to 8 bytes.</summary>
public static unsafe class Crc32
{
    public static void Register(Binders.Registry r) => r.Add(Mnemonic.Crc32, &Bind);

    private static bool Bind(ref OpBuilder b)
    {
        b.Op->Dst = b.Offset(0);
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            b.Op->Run = b.RegisterSize(1) switch { 1 => &Reg<W8>, 2 => &Reg<W16>, 4 => &Reg<W32>, _ => &Reg<W64> };
        }
        else
        {
            b.Memory();
            b.Op->Run = b.Instruction.MemorySize.GetSize() switch { 1 => &Mem<W8>, 2 => &Mem<W16>, 4 => &Mem<W32>, _ => &Mem<W64> };
        }
        return b.Model.Has(Feature.Sse42);
    }

    private static int Reg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth => Add<TWidth>(s, op, TWidth.Get((byte*)s + op->Src));

    private static int Mem<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth =>
        General.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value)
            ? Add<TWidth>(s, op, value) : Status.Fault;

    private static int Add<TWidth>(CpuState* s, Op* op, ulong value) where TWidth : IWidth
    {
        ulong* register = (ulong*)((byte*)s + op->Dst);
        uint crc = (uint)*register;
        *register = TWidth.Bytes switch
        {
            1 => BitOperations.Crc32C(crc, (byte)value),
            2 => BitOperations.Crc32C(crc, (ushort)value),
            4 => BitOperations.Crc32C(crc, (uint)value),
            _ => BitOperations.Crc32C(crc, value),
        };
        return Status.Next;
    }
}
