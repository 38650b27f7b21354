using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>
/// Stack windows: accesses relative to RSP (pushes, pops, calls, returns, locals) are gathered while RSP moves by known amounts. One range check where
/// the window begins stands for all of them; they then go straight to <c>[r15+r12+disp]</c>. A frame that straddles two pages fails the check, and
/// the block is translated once more without windows.
/// </summary>
public static class StackWindows
{
    /// <summary>Wider ranges fail too often: what would stretch the window beyond this is checked by itself.</summary>
    private const int MaxSpan = 1024;

    /// <summary>
    /// In 32-bit code no window is opened this near to either end of the 4 GiB: while the stack pointer is where an access of the window is relative to
    /// it, it cannot have wrapped around.
    /// </summary>
    public const uint Margin = 2 * FarthestLocal;

    private const int FarthestBelow = 4096;
    public const int FarthestLocal = 65536;

    public static void Run(GuestBlock block)
    {
        Span<GuestInstruction> all = block.All;
        bool code32 = block.Code32;
        int first = -1, low = 0, high = 0, delta = 0;
        bool writes = false;
        for (int n = 0; n < all.Length; n++)
        {
            ref GuestInstruction i = ref all[n];
            if (Access(i, code32, out int at, out int size, out bool write))
            {
                int from = delta + at, to = from + size;
                if (first < 0 || Math.Max(high, to) - Math.Min(low, from) <= MaxSpan)
                {
                    if (first < 0)
                    {
                        (first, low, high, writes) = (n, at, at + size, false);
                        delta = 0;
                    }
                    else
                    {
                        low = Math.Min(low, from);
                        high = Math.Max(high, to);
                    }
                    writes |= write;
                    i.InWindow = true;
                }
            }
            if (!Moves(i, code32, out int by))
            {
                delta += by;
                continue;
            }
            Close(all, first, low, high, writes);
            first = -1;
        }
        Close(all, first, low, high, writes);
    }

    private static void Close(Span<GuestInstruction> all, int first, int low, int high, bool writes)
    {
        if (first < 0)
            return;
        all[first].WindowBegins = true;
        all[first].WindowLow = low;
        all[first].WindowHigh = high;
        all[first].WindowWrites = writes;
    }

    /// <summary>The instruction's access relative to RSP as it is before the instruction.</summary>
    private static bool Access(in GuestInstruction i, bool code32, out int at, out int size, out bool write)
    {
        at = 0;
        size = code32 ? 4 : 8;
        write = false;
        switch (i.Treatment)
        {
            case Treatment.Push or Treatment.PushFlags:
                at = -size;
                write = true;
                return true;
            case Treatment.Call:
                at = -size;
                write = true;
                return true;
            case Treatment.Pop or Treatment.Return:
                return true;
            case Treatment.Reencode or Treatment.WithRcx:
                break;
            default:
                return false;
        }
        if (i.Facts.RmOperand < 0 || i.Iced.GetOpKind(i.Facts.RmOperand) != OpKind.Memory)
            return false;
        long displacement = code32 ? (int)i.Iced.MemoryDisplacement64 : (long)i.Iced.MemoryDisplacement64;
        if (i.Iced.MemoryBase != Pointer(code32) || i.Iced.MemoryIndex != Register.None || i.Iced.SegmentPrefix is Register.FS or Register.GS
            || displacement is < -FarthestBelow or > FarthestLocal)
            return false;
        at = (int)displacement;
        size = i.Iced.MemorySize.GetSize();
        write = i.Facts.WritesRm;
        return size > 0;
    }

    /// <summary>True if RSP is not known relative to its old value after the instruction; else <paramref name="by"/> is how far it moves.</summary>
    public static bool Moves(in GuestInstruction i, bool code32, out int by)
    {
        by = 0;
        switch (i.Treatment)
        {
            case Treatment.Push or Treatment.PushFlags:
                by = code32 ? -4 : -8;
                return false;
            case Treatment.Pop:
                by = code32 ? 4 : 8;
                return i.Iced.Op0Register == Pointer(code32);
            case Treatment.Leave:
                return true;
            case Treatment.LoadAddress:
                if (i.Iced.Op0Register != Pointer(code32))
                    return i.Iced.Op0Register is Register.RSP or Register.ESP or Register.SP;
                long distance = code32 ? (int)i.Iced.MemoryDisplacement64 : (long)i.Iced.MemoryDisplacement64;
                by = (int)distance;
                return i.Iced.MemoryBase != Pointer(code32) || i.Iced.MemoryIndex != Register.None || Math.Abs(distance) > FarthestLocal;
        }
        if (i.Iced.Op0Kind == OpKind.Register && i.Iced.Op0Register == Pointer(code32) && i.Iced.Mnemonic is Mnemonic.Add or Mnemonic.Sub
            && i.Iced.Op1Kind is OpKind.Immediate8to64 or OpKind.Immediate32to64 or OpKind.Immediate8to32 or OpKind.Immediate32)
        {
            long amount = code32 ? (int)i.Iced.GetImmediate(1) : (long)i.Iced.GetImmediate(1);
            by = (int)(i.Iced.Mnemonic == Mnemonic.Add ? amount : -amount);
            return Math.Abs(amount) > FarthestLocal;
        }
        for (int n = 0; n < i.Iced.OpCount; n++)
            if (i.Iced.GetOpKind(n) == OpKind.Register && i.Iced.GetOpRegister(n) is Register.RSP or Register.ESP or Register.SP or Register.SPL
                && WritesOperand(i, n))
                return true;
        return false;
    }

    private static Register Pointer(bool code32) => code32 ? Register.ESP : Register.RSP;

    /// <summary>Whatever is not known to be only read counts as written: an RSP that moved unnoticed would leave its window.</summary>
    private static bool WritesOperand(in GuestInstruction i, int operand) =>
        operand == i.Facts.RegOperand ? CodeFacts.Writes(i.Facts.RegAccess)
        : operand == i.Facts.RmOperand ? CodeFacts.Writes(i.Facts.RmAccess)
        : operand != i.Facts.VvvvOperand || CodeFacts.Writes(i.Facts.VvvvAccess);
}
