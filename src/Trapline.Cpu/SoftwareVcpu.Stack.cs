using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>The stack at the current privilege, with the width that SS and the mode give it.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Changes as much of RSP as the stack's width covers.</summary>
    internal void SetStackPointer(ulong value)
    {
        ulong mask = State->StackMask;
        // A 32-bit stack pointer zero-extends only in the sense that its upper half is not visible outside 64-bit mode.
        State->Gpr[4] = (State->Gpr[4] & ~mask) | (value & mask);
    }

    /// <summary>Pushes the low 2, 4 or 8 bytes. False: a fault is pending and RSP is unchanged.</summary>
    internal bool Push(ulong value, int size)
    {
        CpuState* s = State;
        ulong offset = (s->Gpr[4] - (ulong)size) & s->StackMask;
        if (!SegmentLinear(SegmentIndex.Ss, offset, size, write: true, out ulong linear)
            || !TransferSlow(linear, (byte*)&value, size, SegmentIndex.Ss, store: true))
            return false;
        SetStackPointer(offset);
        return true;
    }

    /// <summary>Whether <see cref="Push"/> would succeed; nothing is written. False: its fault is pending.</summary>
    internal bool CheckPush(int size)
    {
        ulong offset = (State->Gpr[4] - (ulong)size) & State->StackMask;
        return SegmentLinear(SegmentIndex.Ss, offset, size, write: true, out ulong linear) && Probe(linear, size, SegmentIndex.Ss, write: true);
    }

    internal bool Pop(int size, out ulong value)
    {
        if (!Peek(0, size, out value))
            return false;
        SetStackPointer(State->Gpr[4] + (ulong)size);
        return true;
    }

    /// <summary>Reads the stack at RSP + <paramref name="depth"/> bytes without moving RSP.</summary>
    internal bool Peek(ulong depth, int size, out ulong value)
    {
        ulong loaded = 0;
        ulong offset = (State->Gpr[4] + depth) & State->StackMask;
        bool ok = SegmentLinear(SegmentIndex.Ss, offset, size, write: false, out ulong linear)
            && TransferSlow(linear, (byte*)&loaded, size, SegmentIndex.Ss, store: false);
        value = loaded;
        return ok;
    }
}
