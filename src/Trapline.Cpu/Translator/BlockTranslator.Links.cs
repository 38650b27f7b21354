using System.Runtime.Intrinsics.X86;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;
using Assembler = Trapline.Cpu.Translator.Emit.Assembler;

namespace Trapline.Cpu.Translator;

/// <summary>Jumps from translation to translation: links at direct jumps, the jump cache for indirect ones.</summary>
public sealed unsafe partial class BlockTranslator
{
    /// <summary>Makes a direct jump at a site lead to the block's translation, which it has, from now on.</summary>
    public void Link(uint number, Block* target)
    {
        ref ExitSite site = ref Site(number);
        if (OwnerOf(site) == null || _translations[target->Translation] is not { } to)
            return;
        Assembler asm = At(site.Patch);
        switch (site.Form)
        {
            case LinkForm.Near:
                asm.Patch(site.Patch, to.Entry);
                break;
            case LinkForm.FarJump or LinkForm.FarCall:
                uint id = _low.Frame->LinkId;
                if (!MayLink(target))
                {
                    AddJump(target);
                    return;
                }
                if (site.Relinks == MostRelinks)
                {
                    LinkThroughCache(ref asm, site, target);
                    return;
                }
                site.Relinks++;
                if (site.Form == LinkForm.FarJump)
                    BlockEmitter.WriteFarJump(ref asm, _addresses, id, site.Cold, to.Entry);
                else
                    BlockEmitter.WriteFarCall(ref asm, _addresses, id, site.Island, to.Entry);
                NoteLinked(id, target);
                break;
        }
        NoteIncoming((int)number, to);
        Counters.Linked++;
    }

    /// <summary>An indirect jump that has gone to more targets than this has no inline cache any more.</summary>
    private const int MostTargets = 4;

    /// <summary>Puts the target of an indirect jump or call, which has just been added to the jump cache, into the site's own cache.</summary>
    public void LinkInline(uint number, Block* target)
    {
        ref ExitSite site = ref Site(number);
        if (site.Form is not (LinkForm.InlineJump or LinkForm.InlineCall) || site.Relinks > MostTargets
            || OwnerOf(site) == null || _translations[target->Translation] is not { } to)
            return;
        uint id = _low.Frame->LinkId;
        if (site.LinkedTo != 0 && site.LinkedIn == id && ++site.Relinks > MostTargets)
        {
            Unlink(ref site);
            Counters.InlineGivenUp++;
            return;
        }
        site.LinkedIn = (ushort)id;
        Assembler asm = At(site.Patch);
        if (site.Form == LinkForm.InlineCall)
            asm.Patch(site.Island, to.Entry);
        BlockEmitter.WriteInlineJump(ref asm, _stubs, _addresses, id, target->Rip, site.Form == LinkForm.InlineCall ? site.Cold : to.Entry);
        NoteIncoming((int)number, to);
        Counters.InlineLinks++;
    }

    /// <summary>Where a hoisted check covers two pages, lets code go on in another translation of the same instructions.</summary>
    public void LinkStraddle(uint number, Translation to)
    {
        ref ExitSite site = ref Site(number);
        if (OwnerOf(site) == null)
            return;
        At(site.Patch).Patch(site.Patch, to.Entry);
        NoteIncoming((int)number, to);
        Counters.Linked++;
    }

    /// <summary>From now on the site leads to a translation, and no longer to where it led.</summary>
    private void NoteIncoming(int number, Translation to)
    {
        ref ExitSite site = ref _sites[number];
        if (site.LinkedTo == to.Number)
            return;
        if (site.LinkedTo != 0)
        {
            if (site.NextIncoming != 0)
                _sites[site.NextIncoming].PreviousIncoming = site.PreviousIncoming;
            if (site.PreviousIncoming != 0)
                _sites[site.PreviousIncoming].NextIncoming = site.NextIncoming;
            else if (_translations[site.LinkedTo] is { } before)
                before.Incoming = site.NextIncoming;
        }
        site.LinkedTo = to.Number;
        site.PreviousIncoming = 0;
        site.NextIncoming = to.Incoming;
        if (to.Incoming != 0)
            _sites[to.Incoming].PreviousIncoming = number;
        to.Incoming = number;
    }

    /// <summary>Without PCIDs every switch of address space ends a scope: then looking a target up each time is cheaper than linking it anew.</summary>
    private const int MostRelinks = 8;

    private void LinkThroughCache(ref Assembler asm, in ExitSite site, Block* target)
    {
        if (!AddJump(target))
            return;
        if (site.Form == LinkForm.FarJump)
            BlockEmitter.WriteCachedJump(ref asm, target->Rip, _stubs.Dispatch);
        else
            BlockEmitter.WriteCachedCall(ref asm, target->Rip, site.Island, _stubs.Dispatch);
    }

    /// <summary>In rings below 3, links must outlive switches of address space where there are global pages: only those do.</summary>
    private bool MayLink(Block* target) => _low.Frame->LinkId != LinkScopes.NoLinks && (_context == SoftTlb.User || !_mmu.HasGlobalPages
        || (_mmu.IsGlobal(target->Rip) && (target->SecondOffset == Block.NoPage || _mmu.IsGlobal((target->Rip | 0xFFF) + 1))));

    private void NoteLinked(uint id, Block* target)
    {
        _scopes.Note(id, target->Rip);
        if (target->SecondOffset != Block.NoPage)
            _scopes.Note(id, (target->Rip | 0xFFF) + 1);
    }

    /// <summary>Lets indirect jumps find the block.</summary>
    /// <returns>False: it has no translation, or its page may not be linked.</returns>
    public bool AddJump(Block* target)
    {
        if (target->Native == 0 || !MayLink(target))
            return false;
        uint slot = LowLayout.JumpSlot(target->Rip);
        _low.JumpKeys[slot] = 0 - (target->Rip + _low.Frame->CodeKey);
        _low.JumpTargets[slot] = target->Native;
        NoteLinked(_low.Frame->LinkId, target);
        return true;
    }

    /// <summary>An entry of the jump cache will be made soon.</summary>
    public void PrefetchJump(ulong rip)
    {
        uint slot = LowLayout.JumpSlot(rip);
        Sse.Prefetch0(_low.JumpKeys + slot);
        Sse.Prefetch0(_low.JumpTargets + slot);
    }

    /// <summary>Makes indirect jumps to an address leave as if it were not in the jump cache, but after the jump; to no other any more. Always true.</summary>
    public bool AddStop(ulong rip)
    {
        uint before = LowLayout.JumpSlot(_low.Frame->StopAddress), slot = LowLayout.JumpSlot(rip);
        if (_low.JumpTargets[before] == _stubs.Stop)
            _low.JumpKeys[before] = EmptyJump(before);
        _low.Frame->StopAddress = rip;
        _low.JumpKeys[slot] = 0 - (rip + _low.Frame->CodeKey);
        _low.JumpTargets[slot] = _stubs.Stop;
        return true;
    }

    private void Unlink(ref ExitSite site)
    {
        Assembler asm = At(site.Patch);
        switch (site.Form)
        {
            case LinkForm.Near:
                asm.Patch(site.Patch, site.Cold);
                break;
            case LinkForm.FarJump or LinkForm.FarCall:
                asm.Jump(site.Cold);
                break;
            case LinkForm.InlineJump or LinkForm.InlineCall:
                asm.Nops(BlockEmitter.InlineSize);
                break;
        }
    }

    /// <summary>
    /// Entries of the jump cache that were never written are zero, which is the key of one address: minus the link number. Its entry must say otherwise.
    /// </summary>
    private void KeepZeroFromMatching(uint id)
    {
        uint slot = LowLayout.JumpSlot(0ul - id);
        if (_low.JumpKeys[slot] == 0)
            _low.JumpKeys[slot] = EmptyJump(slot);
    }

    /// <summary>The key of link number 0, which no address space has.</summary>
    private static ulong EmptyJump(uint slot) => 0 - (ulong)slot;
}
