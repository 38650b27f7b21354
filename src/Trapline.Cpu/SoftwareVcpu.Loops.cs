using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Translator;

namespace Trapline.Cpu;

/// <summary>Watching which way a hot loop takes, for the translator.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Interprets iterations of the loop that begins here until it is left, and has its way translated as soon as that is known.</summary>
    /// <returns>The block to go on with, or null if the main loop must look at events.</returns>
    private Block* WatchLoop(Block* block)
    {
        CpuState* s = State;
        LoopWatch watch = _translator!.Watch;
        uint mode = block->Mode;
        ulong head = block->Rip;
        bool left = false, interrupted = false;
        while (!watch.IsOver && !left && !interrupted)
        {
            Span<ulong> path = watch.Next;
            int length = 0;
            do
            {
                path[length++] = s->Rip;
                interrupted = !InterpretSingle() || Volatile.Read(ref s->Attention) != 0 || s->Mode != mode;
                left = length == path.Length || (s->Rip ^ head) >> 12 != 0;
            }
            while (!left && !interrupted && s->Rip != head);
            if (interrupted)
                watch.Interrupted();
            else if (left)
                watch.Left();
            else
                watch.Came(length);
        }
        Block* next = interrupted ? null : FindBlock(s->Mode);
        if (!watch.IsOver)
            return next;
        ReadOnlySpan<ulong> way = watch.Way;
        // Only if the loop is here still, and this is its beginning: then its block is the next.
        if (way.IsEmpty)
            _translator.EndWatch(known: false);
        else if (next != null && next->Rip == head && _translator.IsWatched(next))
            _translator.EndWatch(_translator.TryTranslateLoop(next, way));
        return next;
    }
}
