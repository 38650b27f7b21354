using System.Runtime.InteropServices;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;
using Assembler = Trapline.Cpu.Translator.Emit.Assembler;

namespace Trapline.Cpu.Translator;

/// <summary>Which translations depend on which guest bytes, and how they go: one by one when those are written, or all at once.</summary>
public sealed unsafe partial class BlockTranslator
{
    private void AddToPage(ulong page, Translation translation)
    {
        if (!_pages.TryGetValue(page, out List<Translation>? list))
            _pages[page] = list = [];
        list.Add(translation);
    }

    /// <summary>The code cache or the link numbers are used up: <see cref="Flush"/> before running any block.</summary>
    public bool NeedsFlush => _code.IsFull || _scopes.Exhausted;

    /// <summary>Some translation depends on bytes of this page.</summary>
    public bool Holds(ulong page) => _pages.ContainsKey(page);

    /// <summary>Every decoded block is gone. Translations stay, and find their blocks as those are decoded anew (<see cref="Attach(Block*)"/>).</summary>
    public void BlocksForgotten()
    {
        foreach (Translation translation in _translations.All)
            translation.Origin = null;
        _orphans = true;
    }

    /// <summary>Drops translations that depend on any byte of a written range.</summary>
    public void Invalidate(ulong offset, ulong length)
    {
        ulong page = offset & ~0xFFFul;
        if (!_pages.TryGetValue(page, out List<Translation>? list))
            return;
        int start = (int)(offset - page), end = start + (int)Math.Min(length, 4096);
        for (int n = list.Count - 1; n >= 0; n--)
            if (list[n].Dropped || DependsOn(list[n], page, start, end))
            {
                if (!list[n].Dropped)
                    Drop(list[n]);
                list.RemoveAt(n);
            }
        if (list.Count == 0)
            _pages.Remove(page);
    }

    private static bool DependsOn(Translation translation, ulong page, int start, int end)
    {
        if (translation.SecondOffset != Block.NoPage && (translation.SecondOffset & ~0xFFFul) == page && start < translation.SecondBytes)
            return true;
        if ((translation.Offset & ~0xFFFul) != page)
            return false;
        foreach ((ushort from, ushort length) in translation.Ranges)
            if (from < end && start < from + length)
                return true;
        return false;
    }

    private void Drop(Translation translation)
    {
        translation.Dropped = true;
        Counters.Dropped++;
        Watcher?.Dropped(translation);
        _translations.Remove(translation);
        ForgetMovable(translation);
        for (int number = translation.Incoming; number != 0;)
        {
            ref ExitSite site = ref _sites[number];
            // A dropped block's entry was overwritten, perhaps with this very jump. What is left of it leads to an overwritten entry in turn.
            if (OwnerOf(site) != null)
                Unlink(ref site);
            number = site.NextIncoming;
            site.LinkedTo = 0;
        }
        // The jump cache must look anew, or every jump here would leave; a caller that is under way still comes here: leave at once.
        uint slot = LowLayout.JumpSlot(translation.Rip);
        if (_low.JumpTargets[slot] == translation.Entry)
            _low.JumpKeys[slot] = EmptyJump(slot);
        int leave = _sites.Add(new ExitSite { Kind = ExitKind.Attention, Rip = translation.Rip });
        Assembler asm = At(translation.Entry);
        asm.Call(_stubs.ExitByCall);
        asm.Int32(leave);
        if (translation.Origin != null && translation.Origin->Native == translation.Entry)
            Forget(translation.Origin);
    }

    /// <summary>The block is interpreted until it is warm again.</summary>
    private static void Forget(Block* block)
    {
        block->Native = 0;
        block->Heat = 0;
    }

    /// <summary>Empties the code cache and everything that leads into it.</summary>
    public void Flush()
    {
        Watcher?.Flushed(_translations.Count, _code.IsFull ? "the code cache is full" : _scopes.Exhausted ? "the link numbers are used up" : "the guest's memory map changed");
        foreach (Translation translation in _translations.All)
            if (translation.Origin != null && translation.Origin->Native == translation.Entry)
                Forget(translation.Origin);
        _translations.Clear();
        _orphans = false;
        _found.Clear();
        WatchedLoop = Nowhere;
        _movable.Clear();
        _pages.Clear();
        _sites.Clear();
        _sites.Add(default); // number 0: the jump cache missed
        _code.Clear();
        _scopes.Restart();
        if (Counters.Flushes != 0)
            NativeMemory.Clear(_low.JumpKeys, LowLayout.JumpEntries * sizeof(ulong));
        _linearPages.Clear();
        ResetShadows();
        _context = -1;
        _spaceDirty = true;
        Counters.Flushes++;
    }
}
