using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>
/// A stack window that begins where flags are live is checked a little earlier, where they are not: a function without locals needs its window for its return
/// alone, and what it leaves in the flags need not be saved around the check then. One with locals gives them up by an addition, whose flags live too.
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
            int distance = 0;
            for (int earlier = n - 1; earlier >= 0 && KeepsStack(all[earlier], block.Code32, out int by); earlier--)
            {
                distance += by;
                if (!all[earlier].FlagsDeadBefore)
                    continue;
                // Beyond that 32-bit code's stack pointer could have wrapped around (StackWindows.Margin).
                if (Math.Abs(distance) <= StackWindows.FarthestLocal)
                    Move(ref all[n], ref all[earlier], distance);
                break;
            }
        }
    }

    /// <summary>RSP is known after it, and the next instruction surely follows.</summary>
    /// <param name="by">How far it moves RSP.</param>
    private static bool KeepsStack(in GuestInstruction i, bool code32, out int by)
    {
        bool moves = StackWindows.Moves(i, code32, out by);
        return !moves && !i.WindowBegins && !i.InWindow && i.Treatment is not (Treatment.Push or Treatment.Pop or Treatment.ConditionalJump)
            && RegisterChanges.AreKnown(i);
    }

    /// <param name="distance">How far RSP moves between the two.</param>
    private static void Move(ref GuestInstruction from, ref GuestInstruction to, int distance)
    {
        (from.WindowBegins, to.WindowBegins) = (false, true);
        (to.WindowLow, to.WindowHigh, to.WindowWrites) = (from.WindowLow + distance, from.WindowHigh + distance, from.WindowWrites);
    }
}
