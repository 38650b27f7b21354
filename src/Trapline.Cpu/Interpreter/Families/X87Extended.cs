namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// Memory operands of 80 bits are two accesses, of eight bytes and of two. Each has its own check against the segment's limit, so that the first one's
/// page fault comes before the second one's #GP, and an operand may wrap at 4 GiB between them (SDM Vol. 3, 5.3, leaves wrapping to the processor).
/// </summary>
public static unsafe partial class X87
{
    private const int ExtendedSize = 10, LowSize = 8, HighSize = 2;

    /// <summary>Linear address of the operand's last two bytes. False: a fault is pending.</summary>
    private static bool HighAddress(SoftwareVcpu cpu, CpuState* s, Op* op, bool write, out ulong linear) =>
        (op->Flags & OpFlags.Flat) != 0
            ? Flat64.LinearAt(cpu, s, op, LowSize, HighSize, write, out linear)
            : General.LinearAt(cpu, s, op, LowSize, HighSize, write, out linear);

    private static bool Load80(SoftwareVcpu cpu, CpuState* s, Op* op, out ulong low, out ushort high)
    {
        low = 0;
        high = 0;
        if (!Address(cpu, s, op, LowSize, write: false, out ulong first) || !GuestAccess.Load<W64>(cpu, s, op, first, out low)
            || !HighAddress(cpu, s, op, write: false, out ulong second) || !GuestAccess.Load<W16>(cpu, s, op, second, out ulong last))
            return false;
        high = (ushort)last;
        return true;
    }

    /// <summary>Nothing is written unless all of it can be.</summary>
    private static bool Store80(SoftwareVcpu cpu, CpuState* s, Op* op, ulong low, ushort high) =>
        Reachable80(cpu, s, op, out ulong first, out ulong second)
        && GuestAccess.Store<W64>(cpu, s, op, first, low) && GuestAccess.Store<W16>(cpu, s, op, second, high);

    private static bool Reachable80(SoftwareVcpu cpu, CpuState* s, Op* op, out ulong first, out ulong second)
    {
        second = 0;
        return Address(cpu, s, op, LowSize, write: true, out first) && Writable(cpu, s, op, first, LowSize)
            && HighAddress(cpu, s, op, write: true, out second) && Writable(cpu, s, op, second, HighSize);
    }

    private static bool Writable(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, int size) =>
        GuestAccess.WritePointer(s, linear, size) != null || cpu.Probe(linear, size, op->Segment, write: true);
}
