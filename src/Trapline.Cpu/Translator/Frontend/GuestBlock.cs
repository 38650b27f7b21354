using Iced.Intel;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>One guest instruction on its way through the passes.</summary>
public struct GuestInstruction
{
    public Instruction Iced;
    public CodeFacts Facts;

    /// <summary>The facts' treatment, or <see cref="Treatment.Interpret"/> where this mode or these operands forbid it.</summary>
    public Treatment Treatment;

    /// <summary>Bytes from the block's start to the instruction's first byte.</summary>
    public int Offset;

    /// <summary>Arithmetic flags that someone may still read when this instruction begins, and after it.</summary>
    public RflagsBits LiveBefore;
    public RflagsBits LiveAfter;

    /// <summary>The stack window that begins here, if <see cref="WindowBegins"/>: bytes relative to RSP, and whether anything in it is stored to.</summary>
    public bool WindowBegins;
    public bool WindowWrites;
    public int WindowLow;
    public int WindowHigh;

    /// <summary>Its stack accesses lie within the current window.</summary>
    public bool InWindow;

    /// <summary>The probe here covers a range for the accesses through the same base that follow (bytes relative to the base).</summary>
    public bool GroupBegins;
    public int GroupLow;
    public int GroupHigh;

    /// <summary>An earlier probe left its addend in RCX, or in <see cref="AddendSlot"/>.</summary>
    public bool GroupMember;

    /// <summary>The place, from 1, where the addend waits: a group's first access stores it there, a member that needs it loads it. 0: it stays in RCX.</summary>
    public int AddendSlot;

    /// <summary>The instruction of the block that, done once more, gives the flags that are here again; or <see cref="NoSource"/>.</summary>
    public int FlagSource;
    public const int NoSource = -1;

    /// <summary>Where its host code begins, in bytes from the translation's entry.</summary>
    public int HostOffset;

    public readonly int Length => Iced.Length;
    public readonly ulong Rip => Iced.IP;
    public readonly ulong NextRip => Iced.NextIP;
    public readonly bool FlagsDeadBefore => LiveBefore == 0;

    /// <summary>A jump or call whose target is known now.</summary>
    public readonly bool IsDirect => Iced.Op0Kind is OpKind.NearBranch64 or OpKind.NearBranch32;
}

/// <summary>An extended block: one entry, left at its end or at any conditional jump in it. Within one page of guest code.</summary>
public sealed class GuestBlock
{
    public const int MaxInstructions = 64;

    /// <summary>As many, if they were joined along the way that a loop takes.</summary>
    public const int MaxJoined = 128;

    public GuestInstruction[] Instructions { get; } = new GuestInstruction[MaxJoined];
    public int Count { get; set; }

    /// <summary>Bytes of code.</summary>
    public int Bytes { get; set; }

    /// <summary>The next instruction is not whole in this page: the interpreter must do it.</summary>
    public bool EndsAtPage { get; set; }

    public ulong Rip => Instructions[0].Rip;

    /// <summary>Its instructions are those that a loop executes one after the other: taken jumps are turned round.</summary>
    public bool IsLoop { get; set; }

    /// <summary>For a loop: the address after the last instruction, which is that of the first.</summary>
    public ulong Then { get; set; }

    /// <summary>
    /// Names that are exchanged in its instructions: guest registers that the host has no register for, and those that it has one for and the block does
    /// not use (<see cref="Passes.RegisterRenaming"/>).
    /// </summary>
    public List<(int Memory, int Instead)> Renamed { get; } = [];

    /// <summary>The stack window is checked once, before the loop begins.</summary>
    public bool WindowBeforeLoop { get; set; }

    /// <summary>32-bit code; else 64-bit.</summary>
    public bool Code32 { get; set; }

    public Span<GuestInstruction> All => Instructions.AsSpan(0, Count);

    public bool UsesVectors
    {
        get
        {
            foreach (ref readonly GuestInstruction i in All)
                if (i.Facts.Vector && i.Treatment != Treatment.Interpret)
                    return true;
            return false;
        }
    }
}
