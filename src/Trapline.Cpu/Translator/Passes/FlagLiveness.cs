using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>
/// Backward liveness of the arithmetic flags. Guest flags are in the host's; where none is live the emitter may clobber them, which makes the check
/// of a memory access two instructions shorter and spares saving them.
/// </summary>
public static class FlagLiveness
{
    /// <param name="block">The block; its instructions get <c>LiveBefore</c> and <c>LiveAfter</c>.</param>
    /// <param name="liveAtEnd">Flags live where the block falls through.</param>
    /// <param name="liveAt">Flags live at the target of a side exit.</param>
    public static void Run(GuestBlock block, RflagsBits liveAtEnd, Func<ulong, RflagsBits> liveAt)
    {
        RflagsBits live = liveAtEnd;
        Span<GuestInstruction> all = block.All;
        for (int n = all.Length - 1; n >= 0; n--)
        {
            ref GuestInstruction i = ref all[n];
            switch (i.Treatment)
            {
                case Treatment.Interpret:
                    live = CodeFacts.Arithmetic; // its state must be exact
                    i.LiveAfter = live;
                    break;
                case Treatment.ConditionalJump or Treatment.CountJump:
                    live |= liveAt(i.Iced.NearBranchTarget);
                    i.LiveAfter = live;
                    live |= i.Facts.FlagsRead;
                    break;
                case Treatment.Jump or Treatment.Call when i.IsDirect:
                    live = liveAt(i.Iced.NearBranchTarget);
                    i.LiveAfter = live;
                    break;
                case Treatment.Jump or Treatment.Call or Treatment.Return:
                    live = CodeFacts.Arithmetic;
                    i.LiveAfter = live;
                    break;
                case Treatment.PushFlags or Treatment.Pause:
                    i.LiveAfter = live;
                    live = CodeFacts.Arithmetic;
                    break;
                default:
                    i.LiveAfter = live;
                    live = (live & ~Killed(i)) | i.Facts.FlagsRead;
                    break;
            }
            i.LiveBefore = live;
        }
    }

    /// <summary>Every flag counts as live everywhere: what a fault handler sees is exact even where the program does not care.</summary>
    public static void KeepAll(GuestBlock block)
    {
        foreach (ref GuestInstruction i in block.All)
            i.LiveBefore = i.LiveAfter = CodeFacts.Arithmetic;
    }

    /// <summary>
    /// A shift by a constant other than zero overwrites all flags (OF is undefined for counts above 1), and so does a comparison of strings that is not
    /// repeated.
    /// </summary>
    private static RflagsBits Killed(in GuestInstruction i)
    {
        if (i.Treatment == Treatment.StringStep)
            return i.Iced.RflagsModified & CodeFacts.Arithmetic;
        if (i.Iced.Mnemonic is not (Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar))
            return i.Facts.FlagsKilled;
        if (i.Treatment != Treatment.Reencode || i.Iced.Op1Kind != OpKind.Immediate8)
            return 0;
        int mask = i.Iced.MemorySize.GetSize() == 8 || (i.Iced.Op0Kind == OpKind.Register && i.Iced.Op0Register.GetSize() == 8) ? 63 : 31;
        return (i.Iced.Immediate8 & mask) != 0 ? CodeFacts.Arithmetic : 0;
    }
}
