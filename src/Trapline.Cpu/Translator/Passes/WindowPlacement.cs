using Iced.Intel;
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
            int earlier = n, distance = 0;
            do
                earlier--;
            while (earlier >= 0 && KeepsStack(all[earlier], block.Code32, ref distance) && !all[earlier].FlagsDeadBefore);
            if (earlier >= 0 && Math.Abs(distance) <= Farthest && KeepsStack(all[earlier], block.Code32))
                Move(ref all[n], ref all[earlier], distance);
        }
    }

    /// <summary>Larger frames are seldom left by one that calls nobody; and sums stay small.</summary>
    private const int Farthest = 1 << 16;

    /// <summary>RSP is known after it, and the next instruction surely follows.</summary>
    /// <param name="distance">Grows by how far it moves RSP.</param>
    private static bool KeepsStack(in GuestInstruction i, bool code32, ref int distance)
    {
        if (!KeepsStack(i, code32))
            return false;
        StackWindows.Moves(i, code32, out int by);
        distance += by;
        return true;
    }

    private static bool KeepsStack(in GuestInstruction i, bool code32) =>
        !i.WindowBegins && !i.InWindow && i.Treatment is not (Treatment.Push or Treatment.Pop or Treatment.ConditionalJump)
        && RegisterChanges.AreKnown(i) && !StackWindows.Moves(i, code32, out _);

    /// <param name="distance">How far RSP moves between the two.</param>
    private static void Move(ref GuestInstruction from, ref GuestInstruction to, int distance)
    {
        (from.WindowBegins, to.WindowBegins) = (false, true);
        (to.WindowLow, to.WindowHigh, to.WindowWrites) = (from.WindowLow + distance, from.WindowHigh + distance, from.WindowWrites);
    }
}
