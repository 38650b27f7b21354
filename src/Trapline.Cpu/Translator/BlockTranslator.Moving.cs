using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Passes;
using Assembler = Trapline.Cpu.Translator.Emit.Assembler;

namespace Trapline.Cpu.Translator;

/// <summary>
/// The same library lies at another address in every process. A translation of the same bytes is copied for the new address, and mended where it depends
/// on that: a tenth of the work of making it, and without waiting until it is warm here too.
/// </summary>
public sealed unsafe partial class BlockTranslator
{
    private readonly Dictionary<(ulong Offset, uint Mode, Hoisting Hoisting), Translation> _movable = [];

    private void KeepMovable(Translation translation)
    {
        if (translation.Relocations != null)
            _movable[(translation.Offset, translation.Mode, translation.Hoisting)] = translation;
    }

    private void ForgetMovable(Translation translation)
    {
        (ulong, uint, Hoisting) key = (translation.Offset, translation.Mode, translation.Hoisting);
        if (translation.Relocations != null && _movable.TryGetValue(key, out Translation? kept) && kept == translation)
            _movable.Remove(key);
    }

    /// <summary>Makes the block's translation from that of the same bytes elsewhere. Null: there is none that can be moved.</summary>
    private Translation? TryMove(Block* block, Hoisting hoisting)
    {
        if (!BlockMode.IsMovable(block->Mode, block->Rip) || block->SecondOffset != Block.NoPage
            || !_movable.TryGetValue((block->Offset, block->Mode, hoisting), out Translation? from))
            return null;
        Translation to = Move(from, block);
        Counters.Moved++;
        Keep(block, to);
        Watcher?.Moved(to, from);
        return to;
    }

    /// <summary>For fuzzers: the block's code is translated as if it had first run at another address.</summary>
    internal void TranslateElsewhere(Block* block, Hoisting hoisting, ulong rip)
    {
        Block elsewhere = *block;
        elsewhere.Rip = rip;
        if (TryTranslate(&elsewhere, hoisting, out _))
            _translations.Find(TranslationKey.Of(&elsewhere, hoisting))!.Origin = null; // it does not outlive this call
    }

    private Translation Move(Translation from, Block* block)
    {
        Assembler hot = _code.BeginHot(), cold = _code.BeginCold();
        Translation to = new()
        {
            Number = _translations.NextNumber,
            Offset = from.Offset,
            SecondOffset = Block.NoPage,
            Rip = block->Rip,
            Mode = from.Mode,
            Hoisting = from.Hoisting,
            Ranges = from.Ranges,
            Relocations = from.Relocations,
            Entry = hot.Here,
            HotBytes = from.HotBytes,
            Cold = cold.Here,
            ColdBytes = from.ColdBytes,
            FirstSite = _sites.Count,
            EndSite = _sites.Count + from.EndSite - from.FirstSite,
        };
        byte* hotBytes = hot.Writable(to.Entry), coldBytes = cold.Writable(to.Cold);
        hot.Bytes(_code.Writable(from.Entry), from.HotBytes);
        cold.Bytes(_code.Writable(from.Cold), from.ColdBytes);
        Mend(from, to, hotBytes, coldBytes);
        for (int number = from.FirstSite; number < from.EndSite; number++)
            AddMovedSite(_sites[number], from, to);
        _code.CommitHot(hot);
        _code.CommitCold(cold);
        return to;
    }

    private static void Mend(Translation from, Translation to, byte* hot, byte* cold)
    {
        ulong by = to.Rip - from.Rip, address = 0;
        foreach (Relocation relocation in from.Relocations!)
        {
            byte* field = (relocation.Cold ? cold : hot) + relocation.Offset;
            switch (relocation.Kind)
            {
                case RelocationKind.Branch:
                    nint start = relocation.Cold ? from.Cold : from.Entry, moved = relocation.Cold ? to.Cold : to.Entry;
                    nint target = start + relocation.Offset + 4 + *(int*)field;
                    *(int*)field = (int)(Moved(target, from, to) - (moved + relocation.Offset + 4));
                    break;
                case RelocationKind.Site:
                    *(int*)field += to.FirstSite - from.FirstSite;
                    break;
                case RelocationKind.Address:
                    address = *(ulong*)field;
                    *(ulong*)field = address + by;
                    break;
                case RelocationKind.Negative:
                    *(ulong*)field -= by;
                    break;
                case RelocationKind.TlbEntry:
                    *(int*)field += TlbPlace(address + by) - TlbPlace(address);
                    break;
            }
        }
    }

    private static int TlbPlace(ulong address) => (int)(address >> 12 & SoftTlb.IndexMask) * sizeof(ulong);

    /// <summary>A place in either part of a translation, in its copy; any other place stays.</summary>
    private static nint Moved(nint place, Translation from, Translation to)
    {
        if (place >= from.Entry && place < from.Entry + from.HotBytes)
            return place - from.Entry + to.Entry;
        if (place >= from.Cold && place < from.Cold + from.ColdBytes)
            return place - from.Cold + to.Cold;
        return place;
    }

    /// <summary>Nothing is linked in the copy, whatever is in what it was copied from.</summary>
    private void AddMovedSite(ExitSite site, Translation from, Translation to)
    {
        site.Owner = to.Number;
        site.LinkedTo = site.NextIncoming = site.PreviousIncoming = 0;
        site.Rip += to.Rip - from.Rip;
        site.Relinks = 0;
        site.Resume = Moved(site.Resume, from, to);
        site.Patch = Moved(site.Patch, from, to);
        site.Cold = Moved(site.Cold, from, to);
        site.Island = Moved(site.Island, from, to);
        _sites.Add(site);
        if (site.Form != LinkForm.None && site.Patch != 0)
            Unlink(ref site);
    }
}
