using Iced.Intel;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>
/// Same-base grouping: accesses through one unchanged base register, as to the fields of a structure, share one probe. The first of a group checks a
/// range that covers all; the others use the addend that it left in RCX. A range that straddles two pages fails the check, and the code is translated
/// once more without groups.
/// </summary>
/// <remarks>
/// Where RCX serves something else in between, such as a probe through another base, the addend waits in memory: code that walks two structures at once
/// probes twice. It outlives exits that resume within the block: those fill TLBs, and what an address means stays.
/// </remarks>
public static class SameBaseGroups
{
    /// <summary>Wider ranges straddle pages too often.</summary>
    private const int MaxSpan = 240;

    /// <summary>Sums of displacements and sizes stay far from overflow, which would make a range look smaller than it is.</summary>
    private const long FarthestField = 1 << 30;

    /// <summary>In 32-bit code what is beyond may be an address itself, and the register an offset.</summary>
    public const long FarthestField32 = 1 << 16;

    public static void Run(GuestBlock block)
    {
        Span<GuestInstruction> all = block.All;
        int slots = 0;
        for (int n = 0; n < all.Length; n++)
        {
            ref GuestInstruction first = ref all[n];
            if (first.GroupMember || !IsPlainAccess(first, block.Code32, out Register b))
                continue;
            Extend(all, n, b, block.Code32, ref slots);
        }
    }

    /// <param name="slots">Places for waiting addends that the block has used so far.</param>
    private static void Extend(Span<GuestInstruction> all, int n, Register b, bool code32, ref int slots)
    {
        ref GuestInstruction first = ref all[n];
        int low = (int)first.Iced.MemoryDisplacement64, high = low + first.Iced.MemorySize.GetSize();
        bool writes = first.Facts.WritesRm, any = false, inRcx = true;
        if (RegisterChanges.Includes(first, b))
            return;
        for (int m = n + 1; m < all.Length; m++)
        {
            ref GuestInstruction i = ref all[m];
            inRcx &= !i.WindowBegins; // moving a window takes RCX
            if (!i.GroupMember && IsPlainAccess(i, code32, out Register other) && other == b && (writes || !i.Facts.WritesRm)
                && Widen(i, ref low, ref high))
            {
                if (!inRcx)
                {
                    if (first.AddendSlot == 0 && slots == TranslationFrame.AddendSlots)
                        break;
                    if (first.AddendSlot == 0)
                        first.AddendSlot = ++slots;
                    i.AddendSlot = first.AddendSlot;
                    inRcx = true;
                }
                i.GroupMember = any = true;
            }
            else if (!KeepsRcx(i))
            {
                if (!RegisterChanges.AreKnown(i))
                    break;
                inRcx = false;
            }
            if (RegisterChanges.Includes(i, b))
                break;
        }
        if (!any)
            return;
        first.GroupBegins = true;
        first.GroupLow = low;
        first.GroupHigh = high;
    }

    /// <summary>Takes an access into the range, unless that becomes too wide.</summary>
    private static bool Widen(in GuestInstruction i, ref int low, ref int high)
    {
        int from = (int)i.Iced.MemoryDisplacement64, to = from + i.Iced.MemorySize.GetSize();
        if (Math.Max(high, to) - (long)Math.Min(low, from) > MaxSpan)
            return false;
        low = Math.Min(low, from);
        high = Math.Max(high, to);
        return true;
    }

    /// <summary>A probed operand of base and displacement alone, whose base is in a host register.</summary>
    /// <param name="b">The base, as 64-bit code names it.</param>
    private static bool IsPlainAccess(in GuestInstruction i, bool code32, out Register b)
    {
        Register named = i.Iced.MemoryBase;
        b = named.GetFullRegister();
        long distance = code32 ? Math.Abs((long)(int)i.Iced.MemoryDisplacement64) : (long)i.Iced.MemoryDisplacement64;
        if (code32 ? distance > FarthestField32 : distance is < -FarthestField or > FarthestField)
            return false;
        return i.Treatment == Treatment.Reencode && !i.Facts.GivesEcx && !i.InWindow && !i.Facts.Aligned && i.Facts.RmOperand >= 0
            && i.Iced.GetOpKind(i.Facts.RmOperand) == OpKind.Memory && (code32 ? named.IsGPR32() : named.IsGPR64()) && i.Iced.MemoryIndex == Register.None
            && i.Iced.SegmentPrefix is not (Register.FS or Register.GS) && HostRegister.Of(named.GetNumber()) != HostRegister.None
            && !InMemory(i, i.Facts.VvvvOperand) && !UsesHighByte(i);
    }

    private static bool KeepsRcx(in GuestInstruction i)
    {
        if (i.WindowBegins)
            return false;
        switch (i.Treatment)
        {
            case Treatment.Nothing or Treatment.Verbatim or Treatment.LoadConstant or Treatment.ByteSwap or Treatment.ExchangeRax or Treatment.StepRegister:
                return true;
            case Treatment.LoadAddress:
                return i.Iced.MemoryIndex == Register.None || HostRegister.Of(i.Iced.MemoryIndex.GetNumber()) != HostRegister.None;
            case Treatment.ConditionalJump:
                return true; // backward ones end the block
            case Treatment.Reencode:
                break;
            default:
                return false;
        }
        if (i.Facts.GivesEcx || InMemory(i, i.Facts.VvvvOperand))
            return false;
        bool memory = i.Facts.RmOperand >= 0 && i.Iced.GetOpKind(i.Facts.RmOperand) == OpKind.Memory;
        if (memory)
            return i.InWindow && !i.Facts.Aligned && !UsesHighByte(i);
        return !InMemory(i, i.Facts.RmOperand) || !InMemory(i, i.Facts.RegOperand) || (!CodeFacts.Writes(i.Facts.RmAccess) && i.Iced.Mnemonic != Mnemonic.Bt);
    }

    /// <summary>The operand is a general register that the host has none for: it passes through r14, and if there is another one through RCX.</summary>
    private static bool InMemory(in GuestInstruction i, int operand) =>
        operand >= 0 && i.Iced.GetOpKind(operand) == OpKind.Register && i.Iced.GetOpRegister(operand).IsGPR()
        && HostRegister.Of(i.Iced.GetOpRegister(operand).GetFullRegister().GetNumber()) == HostRegister.None;

    private static bool UsesHighByte(in GuestInstruction i)
    {
        for (int n = 0; n < i.Iced.OpCount; n++)
            if (i.Iced.GetOpKind(n) == OpKind.Register && i.Iced.GetOpRegister(n) is >= Register.AH and <= Register.BH)
                return true;
        return false;
    }
}
