using System.ComponentModel;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Interpreter.Families;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Running translated code: what happens at each of its exits.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    private BlockTranslator? _translator;

    /// <summary>Why this host cannot run translated code, or null.</summary>
    public static string? TranslatorObstacle =>
        HostFeatures.Translate ? null : "the translator needs Linux on an x86-64 processor with AVX and BMI2";

    /// <summary>Warm code is translated from now on. Call before the vCPU first runs.</summary>
    /// <returns>False: this host cannot, and the vCPU stays with the interpreter.</returns>
    public bool EnableTranslator(TranslatorOptions options)
    {
        Shortcoming = TranslatorObstacle ?? (_low.IsLow ? null : "the host has no memory left below 2 GiB");
        if (Shortcoming != null)
            return false;
        try
        {
            _translator = new BlockTranslator(_low, _memory, Mmu, _model, options);
            return true;
        }
        catch (Win32Exception e)
        {
            Shortcoming = $"the host refused memory for code ({e.Message})";
            return false;
        }
    }

    /// <summary>Why <see cref="EnableTranslator"/> gave up.</summary>
    public string? Shortcoming { get; private set; }

    public BlockTranslator? Translator => _translator;

    private bool TryTranslate(Block* block) => _translator!.TryTranslate(block, Hoisting.All, out _);

    /// <summary>Runs translated code from a block. Returns the block to interpret next, or null if the main loop must look at events.</summary>
    private Block* RunTranslated(Block* block)
    {
        CpuState* s = State;
        BlockTranslator translator = _translator!;
        TranslationFrame* f = _low.Frame;
        if (translator.NeedsFlush)
        {
            translator.Flush();
            return block;
        }
        nint entry = block->Native;
        bool vectors = false;
        PackFlags(f);
        for (; ; )
        {
            translator.Prepare();
            uint number = translator.Enter(entry, vectors);
            ulong window = f->WindowPage;
            vectors = false;
            if (number == 0)
            {
                translator.Counters.JumpMisses++;
                ExpectJump(f->ExitAddress);
                UnpackFlags(f);
                s->Rip = f->ExitAddress;
                if (!Canonical(s->Rip, 1))
                {
                    ref ExitSite bad = ref translator.Site(f->LastReturn);
                    s->Gpr[4] -= (ulong)bad.Span;
                    s->Rip = bad.Rip;
                    return InterpretOne();
                }
                if (Volatile.Read(ref s->Attention) != 0)
                    return null;
                block = FindBlock(s->Mode);
                if (block == null || block->Native == 0)
                    return block;
                translator.Prepare();
                translator.AddJump(block);
                entry = block->Native;
                continue;
            }
            ref ExitSite site = ref translator.Site(number);
            switch (site.Kind)
            {
                case ExitKind.ReadMiss:
                case ExitKind.WriteMiss:
                    bool write = site.Kind == ExitKind.WriteMiss;
                    if (write)
                        translator.Counters.WriteMisses++;
                    else
                        translator.Counters.ReadMisses++;
                    if (Fill(f->ExitAddress, site.Size, write) && MayResume(site, window))
                    {
                        entry = site.Resume;
                        vectors = site.Vectors;
                        continue;
                    }
                    break;
                case ExitKind.Window:
                    translator.Counters.WindowMisses++;
                    if (MoveWindow(f->ExitAddress, site) && translator.OwnerOf(site) != null)
                    {
                        entry = site.Resume;
                        vectors = site.Vectors;
                        continue;
                    }
                    if (FindLessHoisted(site, Hoisting.Windows, f) is { } windowless)
                    {
                        entry = windowless.Entry;
                        continue;
                    }
                    break;
                case ExitKind.Straddle:
                    translator.Counters.Straddles++;
                    if (FindLessHoisted(site, site.Group ? Hoisting.Groups : Hoisting.Windows, f) is { } other)
                    {
                        translator.LinkStraddle(number, other);
                        entry = other.Entry;
                        continue;
                    }
                    break;
                case ExitKind.JumpMiss:
                    translator.Counters.JumpMisses++;
                    ExpectJump(f->ExitAddress);
                    Block* target = AddJumpTo(f->ExitAddress);
                    if (target != null && MayResume(site, window))
                    {
                        translator.LinkInline(number, target);
                        entry = site.Resume;
                        vectors = site.Vectors;
                        continue;
                    }
                    break;
                case ExitKind.Link:
                    translator.Counters.LinkExits++;
                    ExpectBlock(site.Rip);
                    UnpackFlags(f);
                    s->Rip = site.Rip;
                    if (Volatile.Read(ref s->Attention) != 0)
                        return null;
                    block = FindBlock(s->Mode);
                    if (block == null || block->Native == 0)
                        return block;
                    translator.Prepare();
                    translator.Link(number, block);
                    entry = block->Native;
                    continue;
                case ExitKind.Time:
                    if (s->Cpl != 0 && (s->Cr4 & Cr4.Tsd) != 0)
                        break; // #GP
                    translator.Counters.TimeExits++;
                    ModelSpecific.SetTime(this, s, withId: site.Size != 0);
                    entry = site.Resume;
                    vectors = site.Vectors;
                    continue;
                case ExitKind.Attention:
                    translator.Counters.AttentionExits++;
                    UnpackFlags(f);
                    s->Rip = site.Rip;
                    if (Volatile.Read(ref s->Attention) != 0)
                    {
                        translator.NoteAttention(site);
                        return null;
                    }
                    block = FindBlock(s->Mode);
                    if (block == null || block->Native == 0)
                        return block;
                    entry = block->Native;
                    continue;
            }
            translator.Counters.Interpreted++;
            UnpackFlags(f);
            s->Rip = site.Rip;
            block = InterpretOne();
            if (block == null || block->Native == 0)
                return block;
            entry = block->Native;
            PackFlags(f);
        }
    }

    /// <summary>Translated code can go on where it left: its bytes are the same, and so is the stack window that it checked, if it did.</summary>
    /// <param name="window">The window's page when it left. Filling the TLB may evict a large page, which closes the window.</param>
    private bool MayResume(in ExitSite site, ulong window) => _translator!.OwnerOf(site) != null && _low.Frame->WindowPage == window;

    /// <summary>What a look-up of a block touches lies in places far apart: what waits for one of them waits for all at once.</summary>
    private void ExpectBlock(ulong rip)
    {
        _blocks.Prefetch(rip, State->Mode);
        Mmu.Prefetch(rip);
    }

    /// <summary>As <see cref="ExpectBlock"/>; and the jump cache will get the block.</summary>
    private void ExpectJump(ulong rip)
    {
        ExpectBlock(rip);
        _translator!.PrefetchJump(rip);
    }

    /// <summary>One instruction by the interpreter; then the block that follows, or null if the main loop must look at events.</summary>
    private Block* InterpretOne() => InterpretSingle() && Volatile.Read(ref State->Attention) == 0 ? FindBlock(State->Mode) : null;

    /// <summary>One instruction by the interpreter. False: the main loop must look at events.</summary>
    private bool InterpretSingle()
    {
        CpuState* s = State;
        Block* single = FindBlock(s->Mode | BlockMode.Single);
        if (single == null)
            return false;
        Op* op = Block.Ops(single);
        _translator!.CountInterpreted(op->Code);
        int status = op->Run(this, s, op);
        if (status == Status.Next)
            status = op[1].Run(this, s, op + 1);
        s->Instructions++;
        if (status != Status.BlockEnd)
        {
            Leave(op, status);
            return false;
        }
        return true;
    }

    /// <summary>Code whose hoisted check does not hold goes on in a translation without that kind of check; null if there is none.</summary>
    private Translation? FindLessHoisted(in ExitSite site, Hoisting without, TranslationFrame* f)
    {
        BlockTranslator translator = _translator!;
        CpuState* s = State;
        ulong rip = site.Rip;
        s->Rip = rip;
        if (translator.OwnerOf(site) is not { } owner || translator.NeedsFlush || !Mmu.Translate(rip, Access.Fetch | UserBit, out ulong gpa, out _) || !_memory.TryGetPage(gpa, out ulong page, out _))
            return null;
        Block* block = _blocks.FindFirst(page + (gpa & 0xFFF), rip, s->Mode);
        if (block == null)
        {
            UnpackFlags(f);
            block = FindBlock(s->Mode);
        }
        return block == null ? null : translator.Find(block, owner.Hoisting & ~without);
    }

    /// <summary>
    /// Moves the stack window to a page. Only to one that is writable, so that one page and delta serve reads and writes; for reads alone not if that
    /// would set the dirty bit before anything is written.
    /// </summary>
    private bool MoveWindow(ulong linear, in ExitSite site)
    {
        bool writes = site.Size != 0;
        return Reaches(linear, site.Span) && (writes || Mmu.IsDirty(linear, UserBit)) && Fill(linear, site.Span, write: true) && _translator!.OpenWindow(linear);
    }

    /// <summary>The addresses can be accessed in this mode at all, without wrapping around.</summary>
    private bool Reaches(ulong linear, int size) => State->Is64 != 0 ? Canonical(linear, size) : linear + (ulong)size <= 1ul << 32 && linear <= uint.MaxValue;

    /// <summary>Puts an address into the jump cache. Null: it has no translation yet, or cannot be fetched.</summary>
    private Block* AddJumpTo(ulong rip)
    {
        CpuState* s = State;
        if (!Canonical(rip, 1) || !Mmu.Translate(rip, Access.Fetch | UserBit, out ulong gpa, out _) || !_memory.TryGetPage(gpa, out ulong page, out _))
            return null;
        Block* block = _blocks.FindFirst(page + (gpa & 0xFFF), rip, s->Mode);
        return block != null && block->SecondOffset == Block.NoPage && block->Native != 0 && _translator!.AddJump(block) ? block : null;
    }

    /// <summary>Puts a page of RAM into the soft TLB without raising anything. False: the interpreter must do the access.</summary>
    /// <remarks>
    /// The walk may set accessed and dirty bits in a page that code was translated from: the caller must not go on in a dropped translation.
    /// </remarks>
    private bool Fill(ulong linear, int size, bool write)
    {
        if ((linear & 0xFFF) + (ulong)size > 4096 || Mmu.Context == SoftTlb.Bypass || !Reaches(linear, size))
            return false;
        Access access = UserBit | (write ? Access.Write : Access.Read);
        long start = _translator!.StartTime();
        bool translated = Mmu.Translate(linear, access, out ulong gpa, out _);
        _translator.AddMmuTime(start);
        if (!translated || !_memory.TryGetPage(gpa, out ulong offset, out MemoryKind kind))
            return false;
        if (write)
        {
            _memory.Code.NoteStorer(_sharer, offset);
            if (kind != MemoryKind.Ram || (_memory.Marks[offset >> 12] & (byte)PageMarks.Code) != 0)
                return false;
            _memory.NoteWrite(gpa, offset, (ulong)size);
        }
        Mmu.FillSoft(linear, write, _memory.BackingBase + offset);
        return true;
    }

    /// <summary>Lazy flags to what LAHF and SETO give.</summary>
    private void PackFlags(TranslationFrame* f)
    {
        ulong flags = Flags.Arithmetic(State);
        f->Flags = (flags & 0xD5 | 2) << 8 | flags >> 11 & 1;
    }

    /// <summary>The state is managed code's again: flags, and x87 if it was the host's.</summary>
    private void UnpackFlags(TranslationFrame* f)
    {
        Flags.SetArithmetic(State, f->Flags >> 8 & 0xD5 | (f->Flags & 1) << 11);
        if (f->X87 != (uint)X87Place.State)
            TakeX87(f);
    }
}
