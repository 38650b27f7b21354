using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Translator;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu;

/// <summary>Watching which way a hot loop takes, for the translator.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    private const int WatchedIterations = 8;

    /// <summary>Interprets some iterations of the loop that begins here, and has the way translated that most of them took.</summary>
    /// <returns>The block to go on with, or null if the main loop must look at events.</returns>
    private Block* WatchLoop(Block* block)
    {
        CpuState* s = State;
        BlockTranslator translator = _translator!;
        ulong* path = stackalloc ulong[WatchedIterations * GuestBlock.MaxJoined];
        int* lengths = stackalloc int[WatchedIterations];
        int count = 0;
        uint mode = block->Mode;
        ulong head = block->Rip;
        bool left = false, interrupted = false;
        while (count < WatchedIterations && !left && !interrupted)
        {
            Span<ulong> one = new(path + count * GuestBlock.MaxJoined, GuestBlock.MaxJoined);
            int length = 0;
            do
            {
                one[length++] = s->Rip;
                interrupted = !InterpretSingle() || Volatile.Read(ref s->Attention) != 0 || s->Mode != mode;
                left = length == one.Length || (s->Rip ^ head) >> 12 != 0;
            }
            while (!left && !interrupted && s->Rip != head);
            if (s->Rip == head && !interrupted)
                lengths[count++] = length;
        }
        translator.EndWatch(again: interrupted && count == 0);
        (int best, int alike) = MostCommon(path, lengths, count);
        Block* next = interrupted ? null : FindBlock(s->Mode);
        // Only if the loop is here still, and this is its beginning: then its block is the next.
        if (next != null && next->Rip == head && translator.IsWatched(next) && alike * 2 > count)
            translator.TryTranslateLoop(next, new ReadOnlySpan<ulong>(path + best * GuestBlock.MaxJoined, lengths[best]));
        return next;
    }

    /// <summary>The iteration whose way most have, and how many.</summary>
    private static (int Best, int Alike) MostCommon(ulong* path, int* lengths, int count)
    {
        (int Best, int Alike) most = default;
        for (int n = 0; n < count; n++)
        {
            int alike = 0;
            for (int m = 0; m < count; m++)
                if (Way(path, lengths, n).SequenceEqual(Way(path, lengths, m)))
                    alike++;
            if (alike > most.Alike)
                most = (n, alike);
        }
        return most;
    }

    private static ReadOnlySpan<ulong> Way(ulong* path, int* lengths, int n) => new(path + n * GuestBlock.MaxJoined, lengths[n]);
}
