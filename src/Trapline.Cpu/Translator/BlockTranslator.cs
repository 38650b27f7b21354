using Iced.Intel;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;
using Trapline.Memory;
using Trapline.X86;
using Assembler = Trapline.Cpu.Translator.Emit.Assembler;

namespace Trapline.Cpu.Translator;

/// <summary>
/// One vCPU's binary translator: turns warm blocks of 64-bit and flat 32-bit guest code into host code, keeps them, links them, and drops them when their bytes change.
/// </summary>
/// <remarks>
/// Frontend reads an extended block, Passes work out flags and stack windows, Emit writes host code, CodeCache holds it, Runtime enters and leaves it.
/// Everything here runs on the vCPU's thread.
/// </remarks>
public sealed unsafe partial class BlockTranslator : IDisposable, ITranslationListener
{
    private readonly LowLayout _low;
    private readonly GuestMemory _memory;
    private readonly VcpuMmu _mmu;
    private readonly TranslatorOptions _options;
    private readonly ModelFeatures _features;
    private readonly Addresses _addresses;
    private readonly ExecutableCode _code;
    private readonly Stubs _stubs;
    private readonly List<ExitSite> _sites = [];
    private readonly LinkScopes _scopes = new();
    private readonly BlockReader _reader = new();
    private readonly GuestBlock _block = new();
    private readonly BlockEmitter _emitter;
    private readonly Dictionary<(ulong Offset, ulong Second, ulong Rip, uint Mode, bool Safe), Translation> _table = [];
    private readonly Dictionary<ulong, List<Translation>> _pages = [];
    private readonly Dictionary<(ulong Offset, ulong Second, ulong Rip, uint Mode, bool Safe), Hoisting> _demoted = [];
    private readonly List<(int Start, int Length)> _looked = [];
    private readonly ulong[] _shadowRsp = new ulong[LowLayout.ShadowStacks];
    private readonly uint[] _shadowId = new uint[LowLayout.ShadowStacks];
    private int _context = -1;
    private ulong _tag = ulong.MaxValue;

    /// <summary>Linear pages that code was translated from: a flush of one makes return sites in it stale.</summary>
    private readonly HashSet<ulong> _linearPages = [];
    private bool _spaceDirty = true;
    private uint _mode;
    private byte* _page;

    /// <summary>Blocks of one instruction, for oracles: no code that follows may decide anything.</summary>
    private bool _alone;

    /// <summary>All flags are kept everywhere, for oracles.</summary>
    private bool _exact;

    public BlockTranslator(LowLayout low, GuestMemory memory, VcpuMmu mmu, CpuModel model, TranslatorOptions options)
    {
        _features = new ModelFeatures(model);
        _low = low;
        _memory = memory;
        _mmu = mmu;
        _options = options;
        _addresses = new Addresses(low);
        _code = new ExecutableCode(options.CodeCacheSize);
        _stubs = new Stubs(_code, _addresses, options.Extract);
        _emitter = new BlockEmitter(_addresses, _stubs, _sites) { LiveAt = LiveAt };
        _low.Frame->HostMxcsr = 0x1F80;
        _low.Frame->X87Segment = TranslationFrame.NoSegment;
        Flush();
        mmu.Listener = this;
    }

    /// <summary>Counters for <c>--stats</c>.</summary>
    public TranslatorCounters Counters;

    public ulong CodeBytes => _code.Used;

    private readonly long[] _interpreted = new long[Enum.GetValues<Code>().Length];

    /// <summary>Translated code left for the interpreter at an instruction of this code of Iced's.</summary>
    public void CountInterpreted(ushort code) => _interpreted[code]++;

    /// <summary>The counters, and the instructions that most often left for the interpreter.</summary>
    public IReadOnlyList<EngineDetail> Describe()
    {
        List<EngineDetail> lines = [.. Counters.Describe(), new("code cache", "bytes in use", (long)CodeBytes), new("code cache", "bytes at most", (long)_options.CodeCacheSize)];
        lines.AddRange(_interpreted.Select((count, code) => new EngineDetail("interpreted", $"{(Code)code}", count))
            .Where(l => l.Value > 0).OrderByDescending(l => l.Value).Take(16));
        return lines;
    }

    public ref ExitSite Site(uint number) => ref System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_sites)[(int)number];

    /// <summary>Runs from a host address until something needs managed code. Returns the exit site's number.</summary>
    public uint Enter(nint entry, bool vectors)
    {
        CpuState* s = _low.State;
        if (s->Calm == 0 && Volatile.Read(ref s->Attention) == 0)
        {
            // A request that comes in between is either seen here or clears the flag again itself.
            Volatile.Write(ref s->Calm, 1);
            Interlocked.MemoryBarrier();
            if (Volatile.Read(ref s->Attention) != 0)
                s->Calm = 0;
        }
        _low.Frame->Entry = entry;
        nint way = vectors ? _stubs.EnterWithVectors : _stubs.Enter;
        return _options.Time ? EnterTimed(way) : ((delegate* unmanaged<uint>)way)();
    }

    /// <summary>Translates the block's code. False: its first instruction is the interpreter's, so nothing is gained.</summary>
    /// <param name="safe">Without stack windows.</param>
    /// <param name="alone">One instruction, and no code that follows decides anything: for oracles.</param>
    /// <param name="exact">Flags that no one reads survive, too.</param>
    public bool TryTranslate(Block* block, bool safe, out nint entry, bool alone = false, bool exact = false)
    {
        entry = 0;
        long start = StartTime();
        if (NeedsFlush)
            Flush();
        uint mode = block->Mode;
        if (!ModeRules.Translates(mode) || WrapsAround(mode, block->Rip))
            return false;
        bool spans = block->SecondOffset != Block.NoPage;
        int within = (int)(block->Offset & 0xFFF);
        _page = _memory.BackingBase + (block->Offset & ~0xFFFul);
        ModeRules rules = ModeRules.Of(mode, _features);
        byte* code = _page + within;
        int length = 4096 - within;
        byte* gathered = stackalloc byte[32];
        if (spans)
        {
            // One instruction in two pages: its bytes side by side.
            Buffer.MemoryCopy(code, gathered, 16, block->Bytes);
            Buffer.MemoryCopy(_memory.BackingBase + block->SecondOffset, gathered + block->Bytes, 16, block->SecondBytes);
            code = gathered;
            length = block->Bytes + block->SecondBytes;
        }
        _reader.Read(code, length, block->Rip, alone || spans ? 1 : GuestBlock.MaxInstructions, rules, _block);
        if (_block.Count == 0 || (alone && _block.Instructions[0].Treatment == Treatment.Interpret))
            return false;
        Translation translation = new() { Offset = block->Offset, SecondOffset = block->SecondOffset, Rip = block->Rip, Mode = mode, Safe = safe };
        _looked.Clear();
        _alone = alone;
        _exact = exact;
        RunFlagLiveness();
        if (exact)
            FlagLiveness.KeepAll(_block);
        Hoisting hoisting = safe ? Hoisting.None : _demoted.TryGetValue(KeyOf(block, safe: false), out Hoisting left) ? left : Hoisting.All;
        translation.Hoisting = hoisting;
        if ((hoisting & Hoisting.Windows) != 0)
            StackWindows.Run(_block);
        if ((hoisting & Hoisting.Groups) != 0)
            SameBaseGroups.Run(_block);
        _emitter.Emit(_block, code, BlockMode.Context(mode), _options.Count, translation, _code);
        translation.Ranges.Add((within, Math.Min(_block.Bytes, 4096 - within)));
        translation.Ranges.AddRange(_looked);
        _table[KeyOf(block, safe)] = translation;
        AddToPage(block->Offset & ~0xFFFul, translation);
        if (spans)
        {
            AddToPage(block->SecondOffset & ~0xFFFul, translation);
            translation.SecondBytes = block->SecondBytes;
            _linearPages.Add((block->Rip >> 12) + 1);
        }
        _linearPages.Add(block->Rip >> 12);
        entry = translation.Entry;
        if (!safe)
        {
            translation.Origin = block;
            block->Native = entry;
        }
        Counters.Translated++;
        Counters.GuestInstructions += _block.Count;
        AddTime(ref _timeTranslating, start);
        Watcher?.Translated(_block, translation);
        return true;
    }

    /// <summary>In 32-bit code the instruction pointer may wrap in the last page, which is not worth thinking about.</summary>
    private static bool WrapsAround(uint mode, ulong rip) => (mode & BlockMode.SizeMask) == BlockMode.Code32 && rip >= 0xFFFF_F000;

    private void AddToPage(ulong page, Translation translation)
    {
        if (!_pages.TryGetValue(page, out List<Translation>? list))
            _pages[page] = list = [];
        list.Add(translation);
    }

    private static (ulong Offset, ulong Second, ulong Rip, uint Mode, bool Safe) KeyOf(Block* block, bool safe) =>
        (block->Offset, block->SecondOffset, block->Rip, block->Mode, safe);

    /// <summary>The translation of a block without stack windows.</summary>
    public nint SafeEntry(Block* block) =>
        _table.TryGetValue(KeyOf(block, safe: true), out Translation? found) ? found.Entry
        : TryTranslate(block, safe: true, out nint entry) ? entry : 0;

    /// <summary>
    /// A hoisted check of this translation straddled two pages. Where that happens again and again, a loop over such a frame or structure, the
    /// translation is made anew without that kind of check.
    /// </summary>
    public void Straddled(Translation translation, bool group)
    {
        const int TooOften = 32, Within = 20;
        Counters.Straddles++;
        long now = Environment.TickCount64;
        if (now - translation.StraddlesSince > Within)
            (translation.StraddlesSince, translation.Straddles) = (now, 0);
        if (++translation.Straddles < TooOften || translation.Dropped || translation.Safe)
            return;
        var key = (translation.Offset, translation.SecondOffset, translation.Rip, translation.Mode, false);
        Hoisting left = _demoted.TryGetValue(key, out Hoisting before) ? before : Hoisting.All;
        _demoted[key] = left & ~(group ? Hoisting.Groups : Hoisting.Windows);
        Counters.Demoted++;
        Block* origin = translation.Origin;
        Drop(translation);
        if (origin != null)
            origin->Heat = TranslatorOptions.WarmAfter - 1;
    }

    /// <summary>A block was decoded anew: its translation may still be there.</summary>
    public void Attach(Block* block)
    {
        if (!_table.TryGetValue(KeyOf(block, safe: false), out Translation? found))
            return;
        found.Origin = block;
        block->Native = found.Entry;
    }

    /// <summary>Flags live at a guest address: worked out in the block's page, else taken to be all.</summary>
    private RflagsBits LiveAt(ulong target)
    {
        if (_alone || _exact || (target ^ _block.Rip) >> 12 != 0)
            return CodeFacts.Arithmetic;
        int within = (int)(target & 0xFFF);
        RflagsBits live = _reader.LiveAt(_page + within, 4096 - within, target, _block.Code32, out int looked);
        _looked.Add((within, looked));
        return live;
    }

    /// <summary>Makes a direct jump at a site lead to the block's translation from now on.</summary>
    public void Link(uint number, Block* target)
    {
        ref ExitSite site = ref Site(number);
        if (site.Owner is null || site.Owner.Dropped || !_table.TryGetValue(KeyOf(target, safe: false), out Translation? to))
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
        to.Incoming.Add((int)number);
        Counters.Linked++;
    }

    /// <summary>Without PCIDs every switch of address space ends a scope: then looking a target up each time is cheaper than linking it anew.</summary>
    private const int MostRelinks = 32;

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

    /// <summary>The code cache or the link numbers are used up: <see cref="Flush"/> before running any block.</summary>
    public bool NeedsFlush => _code.IsFull || _scopes.Exhausted;

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

    /// <summary>Makes indirect jumps to an address leave as if it were not in the jump cache, but after the jump. Always true.</summary>
    public bool AddStop(ulong rip)
    {
        uint slot = LowLayout.JumpSlot(rip);
        _low.JumpKeys[slot] = 0 - (rip + _low.Frame->CodeKey);
        _low.JumpTargets[slot] = _stubs.Miss;
        return true;
    }

    /// <summary>The instruction at a backing offset, as far as its page holds it, in the mode that is current.</summary>
    public Instruction Decode(ulong offset, ulong rip) =>
        _reader.One(_memory.BackingBase + offset, 4096 - (int)(offset & 0xFFF), rip, (_low.State->Mode & BlockMode.SizeMask) == BlockMode.Code32);

    /// <summary>Arithmetic flags that code may read before it writes them, by the same analysis that translations are made with.</summary>
    public RflagsBits LiveFrom(ulong offset, ulong rip, uint mode)
    {
        ReadBlock(offset, rip, mode, GuestBlock.MaxInstructions);
        if (_block.Count == 0)
            return CodeFacts.Arithmetic;
        _looked.Clear();
        _alone = _exact = false;
        RunFlagLiveness();
        // A block's passes know which instructions are the interpreter's, and keep all flags for those; who jumps here looks at less and more.
        return _block.Instructions[0].LiveBefore & LiveAt(rip);
    }

    private void ReadBlock(ulong offset, ulong rip, uint mode, int most)
    {
        int within = (int)(offset & 0xFFF);
        _page = _memory.BackingBase + (offset & ~0xFFFul);
        ModeRules rules = ModeRules.Of(mode, _features);
        _reader.Read(_page + within, 4096 - within, rip, most, rules, _block);
    }

    private void RunFlagLiveness()
    {
        RflagsBits atEnd = _block.EndsAtPage ? CodeFacts.Arithmetic : LiveAt(_block.Instructions[_block.Count - 1].NextRip);
        FlagLiveness.Run(_block, atEnd, LiveAt);
    }

    /// <summary>Some translation depends on bytes of this page.</summary>
    public bool Holds(ulong page) => _pages.ContainsKey(page);

    /// <summary>Every decoded block is gone. Translations stay, and find their blocks as those are decoded anew (<see cref="Attach"/>).</summary>
    public void BlocksForgotten()
    {
        foreach (Translation translation in _table.Values)
            translation.Origin = null;
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
        foreach ((int from, int length) in translation.Ranges)
            if (from < end && start < from + length)
                return true;
        return false;
    }

    private void Drop(Translation translation)
    {
        translation.Dropped = true;
        Counters.Dropped++;
        Watcher?.Dropped(translation);
        _table.Remove((translation.Offset, translation.SecondOffset, translation.Rip, translation.Mode, translation.Safe));
        foreach (int number in translation.Incoming)
        {
            ref ExitSite site = ref Site((uint)number);
            // A dropped block's entry was overwritten, perhaps with this very jump. What is left of it leads to an overwritten entry in turn.
            if (!site.Owner!.Dropped)
                Unlink(ref site);
        }
        // The jump cache must look anew, or every jump here would leave; a caller that is under way still comes here: leave at once.
        uint slot = LowLayout.JumpSlot(translation.Rip);
        if (_low.JumpTargets[slot] == translation.Entry)
            _low.JumpKeys[slot] = EmptyJump(slot);
        _sites.Add(new ExitSite { Kind = ExitKind.Attention, Rip = translation.Rip });
        Assembler asm = At(translation.Entry);
        asm.Call(_stubs.ExitByCall);
        asm.Int32(_sites.Count - 1);
        if (translation.Origin != null && translation.Origin->Native == translation.Entry)
            Forget(translation.Origin);
    }

    /// <summary>The block is interpreted until it is warm again.</summary>
    private static void Forget(Block* block)
    {
        block->Native = 0;
        block->Heat = 0;
    }

    private void Unlink(ref ExitSite site)
    {
        Assembler asm = At(site.Patch);
        if (site.Form == LinkForm.Near)
            asm.Patch(site.Patch, site.Cold);
        else
            asm.Jump(site.Cold);
    }

    private Assembler At(nint executable) => _code.At(executable);

    /// <summary>Empties the code cache and everything that leads into it.</summary>
    public void Flush()
    {
        Watcher?.Flushed(_table.Count, _code.IsFull ? "the code cache is full" : _scopes.Exhausted ? "the link numbers are used up" : "the guest's memory map changed");
        foreach (Translation translation in _table.Values)
            if (translation.Origin != null && translation.Origin->Native == translation.Entry)
                Forget(translation.Origin);
        _table.Clear();
        _demoted.Clear();
        _pages.Clear();
        _sites.Clear();
        _sites.Add(default); // number 0: the jump cache missed
        _code.Clear();
        _scopes.Restart();
        for (uint slot = 0; slot < LowLayout.JumpEntries; slot++)
            _low.JumpKeys[slot] = EmptyJump(slot);
        _linearPages.Clear();
        ResetShadows();
        _context = -1;
        _spaceDirty = true;
        Counters.Flushes++;
    }

    /// <summary>The key of link number 0, which no address space has.</summary>
    private static ulong EmptyJump(uint slot) => 0 - (ulong)slot;

    private void ResetShadows()
    {
        for (int context = 0; context < LowLayout.ShadowStacks; context++)
            ResetShadow(context);
    }

    private void ResetShadow(int context)
    {
        ulong top = _low.ShadowTop(context);
        *(nint*)top = _stubs.Bottom;
        _shadowRsp[context] = top;
        if (context == _context)
            _low.Frame->ShadowRsp = top;
    }

    /// <summary>Call before every entry: the frame follows the current context and address space.</summary>
    public void Prepare()
    {
        TranslationFrame* f = _low.Frame;
        if (_spaceDirty || _low.State->Mode != _mode)
        {
            _spaceDirty = false;
            if (((_low.State->Mode ^ _mode) & BlockMode.SizeMask) != 0)
                f->CloseWindow(); // 32-bit code must not reach a page beyond 4 GiB by wrapping around
            _mode = _low.State->Mode;
            int context = _mmu.Context;
            if (context != _context)
            {
                if (_context >= 0)
                    _shadowRsp[_context] = f->ShadowRsp;
                _context = context;
                f->ShadowTop = _low.ShadowTop(context);
                f->ShadowRsp = _shadowRsp[context];
            }
            uint id = _scopes.IdOf(_low.State->Mode, _mmu.Tag, _mmu.HasGlobalPages);
            SetScope(id);
            f->CodeKey = id;
            ulong tag = _mmu.Tag;
            if (tag != _tag)
            {
                // Rings 0 to 2 keep their number, but the pages of their return sites may not be global.
                _tag = tag;
                ResetShadows();
            }
            if (_shadowId[context] != id || id == LinkScopes.NoLinks)
            {
                // Return sites of another address space must not be taken for this one's.
                _shadowId[context] = id;
                ResetShadow(context);
            }
        }
        if (f->ShadowRsp < _low.ShadowLimit(_context))
            ResetShadow(_context);
        if (f->WindowPage == TranslationFrame.NoPage)
            OpenWindow(_low.State->Is64 != 0 ? _low.State->Gpr[4] - 8 : (uint)_low.State->Gpr[4] - 4u);
    }

    private void SetScope(uint id)
    {
        TranslationFrame* f = _low.Frame;
        _low.ScopeIsCurrent[f->LinkId] = 0;
        f->LinkId = id;
        _low.ScopeIsCurrent[id] = id == LinkScopes.NoLinks ? (byte)0 : (byte)1;
    }

    /// <summary>Sets the stack window from the soft TLB, if that knows the page as writable.</summary>
    public bool OpenWindow(ulong linear)
    {
        TranslationFrame* f = _low.Frame;
        CpuState* s = _low.State;
        ulong page = linear & ~0xFFFul, slot = page >> 12 & SoftTlb.IndexMask;
        bool narrow = s->Is64 == 0, tooNear = page < StackWindows.Margin || page >= (1ul << 32) - StackWindows.Margin;
        if (s->WriteTlb[slot] != page || (narrow && tooNear))
            return false;
        f->WindowPage = page;
        f->WindowDelta = s->WriteTlb[slot + SoftTlb.Entries];
        return true;
    }

    public void SpaceChanged() => _spaceDirty = true;

    public void PageFlushed(ulong linear, ulong tag)
    {
        _spaceDirty |= _scopes.PageFlushed(linear, tag, _mmu.HasGlobalPages);
        if (_linearPages.Contains(linear >> 12))
            ResetShadows();
    }

    public void AllFlushed()
    {
        _scopes.AllFlushed();
        ResetShadows();
        _spaceDirty = true;
    }

    public void Dispose()
    {
        _mmu.Listener = null;
        _code.Dispose();
    }
}
