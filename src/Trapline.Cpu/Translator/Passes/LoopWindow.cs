using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>A loop that leaves RSP where it is needs its stack window checked only once, before it begins.</summary>
public static class LoopWindow
{
    public static void Run(GuestBlock block)
    {
        int begins = -1;
        for (int n = 0; n < block.Count; n++)
        {
            ref readonly GuestInstruction i = ref block.Instructions[n];
            if (i.Treatment is Treatment.Push or Treatment.Pop || !RegisterChanges.AreKnown(i) || RegisterChanges.Includes(i, Register.RSP))
                return;
            if (i.WindowBegins)
                begins = begins < 0 ? n : int.MaxValue;
        }
        if (begins is < 0 or int.MaxValue)
            return;
        ref GuestInstruction from = ref block.Instructions[begins], first = ref block.Instructions[0];
        from.WindowBegins = false;
        (first.WindowLow, first.WindowHigh, first.WindowWrites) = (from.WindowLow, from.WindowHigh, from.WindowWrites);
        block.WindowBeforeLoop = true;
    }
}
