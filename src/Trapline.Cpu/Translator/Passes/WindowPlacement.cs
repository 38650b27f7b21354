using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>
/// A stack window that begins where flags are live is checked a little earlier, where they are not: a function without locals needs its window for its return
/// alone, and what it leaves in the flags need not be saved around the check then.
/// </summary>
public static class WindowPlacement
{
    public static void Run(GuestBlock block)
    {
        Span<GuestInstruction> all = block.All;
        for (int n = 1; n < all.Length; n++)
        {
            if (!all[n].WindowBegins || all[n].FlagsDeadBefore)
                continue;
            int earlier = n - 1;
            while (earlier >= 0 && KeepsStack(all[earlier]) && !all[earlier].FlagsDeadBefore)
                earlier--;
            if (earlier >= 0 && KeepsStack(all[earlier]))
                Move(ref all[n], ref all[earlier]);
        }
    }

    /// <summary>RSP is the same after it, and the next instruction surely follows.</summary>
    private static bool KeepsStack(in GuestInstruction i) =>
        !i.WindowBegins && !i.InWindow && i.Treatment is not (Treatment.Push or Treatment.Pop or Treatment.ConditionalJump)
        && RegisterChanges.AreKnown(i) && !RegisterChanges.Includes(i, Register.RSP);

    private static void Move(ref GuestInstruction from, ref GuestInstruction to)
    {
        (from.WindowBegins, to.WindowBegins) = (false, true);
        (to.WindowLow, to.WindowHigh, to.WindowWrites) = (from.WindowLow, from.WindowHigh, from.WindowWrites);
    }
}
