using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>The parts of an instruction's encoding in 64-bit or 32-bit code (SDM Vol. 2, 2.1 to 2.3), as offsets into its bytes.</summary>
public readonly unsafe ref struct OriginalBytes
{
    public readonly byte* Start;
    public readonly int PrefixLength;

    /// <summary>REX, or 0.</summary>
    public readonly int Rex;

    /// <summary>VEX payload after C4 in three-byte form (R, X and B as stored, inverted), or 0.</summary>
    public readonly int Vex1;
    public readonly int Vex2;
    public readonly int OpcodeAt;
    public readonly int OpcodeLength;
    public readonly int ModRmAt;

    /// <summary>Immediate bytes after the operand.</summary>
    public readonly int TailAt;
    public readonly int Length;

    public bool IsVex => Vex1 != 0;
    public bool Wide => IsVex ? (Vex2 & 0x80) != 0 : (Rex & 8) != 0;
    public byte ModRm => Start[ModRmAt];
    public int RegField => (ModRm >> 3 & 7) | (IsVex ? (Vex1 & 0x80) == 0 ? 8 : 0 : (Rex & 4) << 1);
    public int RmField => (ModRm & 7) | (IsVex ? (Vex1 & 0x20) == 0 ? 8 : 0 : (Rex & 1) << 3);
    public int VvvvField => ~(Vex2 >> 3) & 15;

    /// <summary>
    /// REX counts only right before the opcode, and of several the last (SDM Vol. 2, 2.2.1). Decoders accept the rest; this parser does not read it,
    /// and what it misread would be emitted.
    /// </summary>
    public static bool IsOrderly(byte* start, int length, CodeFacts facts, bool code32)
    {
        int at = 0;
        while (at < length && IsLegacyPrefix(start[at]))
            at++;
        if (code32)
            return !facts.Vex || IsPlainVex(start + at, start[length - 1], facts);
        if (at == length || (start[at] & 0xF0) != 0x40)
            return true;
        return ++at < length && (start[at] & 0xF0) != 0x40 && !IsLegacyPrefix(start[at]);
    }

    /// <summary>
    /// In 32-bit code some bits of VEX are ignored (B, the top of vvvv, W with general registers, the top bit of a register in an immediate; SDM Vol. 2,
    /// 2.3), which the host would heed. Nobody sets them.
    /// </summary>
    private static bool IsPlainVex(byte* vex, byte last, CodeFacts facts)
    {
        if (*vex != 0xC4)
            return true; // C5 has no such bit: the top of its vvvv tells it from LDS
        bool general = facts.RegIsGeneral || facts.RmIsGeneral || facts.VvvvIsGeneral || facts.TakesLengths, inImmediate = (vex[1] & 0x1F) == 3 && vex[3] is >= 0x4A and <= 0x4C;
        return (vex[1] & 0x20) != 0 && (vex[2] & 0x40) != 0 && !(general && (vex[2] & 0x80) != 0) && !(inImmediate && last > 0x7F);
    }

    private static bool IsLegacyPrefix(byte value) => value is 0x66 or 0x67 or 0xF0 or 0xF2 or 0xF3 or 0x2E or 0x36 or 0x3E or 0x26 or 0x64 or 0x65;

    public OriginalBytes(byte* start, int length, bool code32)
    {
        Start = start;
        Length = length;
        int at = 0;
        while (IsLegacyPrefix(start[at]))
            at++;
        PrefixLength = at;
        if (start[at] == 0xC4)
        {
            Vex1 = start[at + 1];
            Vex2 = start[at + 2];
            OpcodeAt = at + 3;
            OpcodeLength = 1;
        }
        else if (start[at] == 0xC5)
        {
            Vex1 = (start[at + 1] & 0x80) | 0x61;
            Vex2 = start[at + 1] & 0x7F;
            OpcodeAt = at + 2;
            OpcodeLength = 1;
        }
        else
        {
            if (!code32 && (start[at] & 0xF0) == 0x40)
                Rex = start[at++];
            OpcodeAt = at;
            OpcodeLength = start[at] != 0x0F ? 1 : start[at + 1] is 0x38 or 0x3A ? 3 : 2;
        }
        ModRmAt = OpcodeAt + OpcodeLength;
        int modRm = start[ModRmAt], after = ModRmAt + 1;
        int mod = modRm >> 6, rm = modRm & 7;
        if (mod != 3)
        {
            if (rm == 4)
            {
                if (mod == 0 && (start[after] & 7) == 5)
                    after += 4;
                after++;
            }
            else if (mod == 0 && rm == 5)
            {
                after += 4;
            }
            after += mod == 1 ? 1 : mod == 2 ? 4 : 0;
        }
        TailAt = after;
    }
}
