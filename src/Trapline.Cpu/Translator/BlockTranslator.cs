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
    private readonly ExitSites _sites = new();
    private readonly LinkScopes _scopes = new();
    private readonly BlockAnalysis _analysis = new();
    private readonly BlockEmitter _emitter;
    private readonly TranslationTable _translations = new();

    /// <summary>Some translation's decoded block is gone: whoever decodes a block anew must look.</summary>
    private bool _orphans;
    private readonly Dictionary<ulong, List<Translation>> _pages = [];

    /// <summary>Its tables have been put into huge pages.</summary>
    private bool _isLarge;

    public BlockTranslator(LowLayout low, GuestMemory memory, VcpuMmu mmu, CpuModel model, TranslatorOptions options)
    {
        _features = new ModelFeatures(model);
        _low = low;
        _memory = memory;
        _mmu = mmu;
        _options = options;
        _addresses = new Addresses(low);
        _code = new ExecutableCode(options.CodeCacheSize);
        _stubs = new Stubs(_code, _addresses, options.Extract, options.Clock);
        _emitter = new BlockEmitter(_addresses, _stubs, _sites, options.Singly, options.Extract);
        _low.Frame->HostMxcsr = 0x1F80;
        _low.Frame->Backing = memory.BackingBase;
        _low.Frame->Marks = memory.Marks;
        _low.Frame->Space = 0;
        mmu.Spaces = new SpaceTlb(low.Spaces);
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

    public ref ExitSite Site(uint number) => ref _sites[(int)number];

    /// <summary>The translation that a site is in; null if it was dropped.</summary>
    public Translation? OwnerOf(in ExitSite site) => _translations[site.Owner];

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
    /// <param name="hoisting">Which checks may stand for several accesses.</param>
    /// <param name="alone">One instruction, and no code that follows decides anything: for oracles.</param>
    /// <param name="exact">Flags that no one reads survive, too.</param>
    public bool TryTranslate(Block* block, Hoisting hoisting, out nint entry, bool alone = false, bool exact = false)
    {
        entry = 0;
        long start = StartTime();
        if (NeedsFlush)
            Flush();
        uint mode = block->Mode;
        if (!ModeRules.Translates(mode) || WrapsAround(mode, block->Rip))
            return false;
        if (!alone && !exact && TryMove(block, hoisting) is { } moved)
        {
            entry = moved.Entry;
            AddTime(ref _timeTranslating, start);
            return true;
        }
        bool spans = block->SecondOffset != Block.NoPage;
        byte* page = _memory.BackingBase + (block->Offset & ~0xFFFul);
        int within = (int)(block->Offset & 0xFFF);
        byte* code = page + within;
        int length = 4096 - within;
        byte* gathered = stackalloc byte[32];
        if (spans)
        {
            // One instruction in two pages: its bytes side by side.
            Gather(gathered, block->Offset, block->Bytes, block->SecondOffset, block->SecondBytes);
            code = gathered;
            length = block->Bytes + block->SecondBytes;
        }
        int most = alone || spans ? 1 : GuestBlock.MaxInstructions;
        if (!_analysis.Run(page, code, length, block->Rip, ModeRules.Of(mode, _features), hoisting, most, closed: alone || exact, exact))
            return false;
        if (alone && _analysis.Block.Instructions[0].Treatment == Treatment.Interpret)
            return false;
        entry = Emit(block, code, hoisting);
        AddTime(ref _timeTranslating, start);
        return true;
    }

    /// <summary>Emits code for the block that was analysed, and keeps it.</summary>
    /// <param name="code">Its bytes.</param>
    private nint Emit(Block* block, byte* code, Hoisting hoisting)
    {
        GuestBlock guest = _analysis.Block;
        Translation translation = new()
        {
            Number = _translations.NextNumber,
            Offset = block->Offset,
            SecondOffset = block->SecondOffset,
            Rip = block->Rip,
            Mode = block->Mode,
            Hoisting = hoisting,
            IsLoop = guest.IsLoop,
        };
        _emitter.Emit(_analysis, code, BlockMode.Context(block->Mode), _options.Count, translation, _code);
        translation.Ranges = [.. _analysis.OwnRanges(), .. _analysis.Looked];
        Keep(block, translation);
        Counters.Translated++;
        Counters.GuestInstructions += guest.Count;
        Watcher?.Translated(guest, translation);
        return translation.Entry;
    }

    private void Keep(Block* block, Translation translation)
    {
        if (!_isLarge && _code.IsLarge)
        {
            _isLarge = true;
            _low.MakeHuge();
            _sites.MakeHuge();
        }
        _translations.Add(translation);
        AddToPage(block->Offset & ~0xFFFul, translation);
        if (block->SecondOffset != Block.NoPage)
        {
            AddToPage(block->SecondOffset & ~0xFFFul, translation);
            translation.SecondBytes = block->SecondBytes;
            _linearPages.Add((block->Rip >> 12) + 1);
        }
        _linearPages.Add(block->Rip >> 12);
        if (translation.Hoisting == Hoisting.All)
            Attach(block, translation);
        KeepMovable(translation);
    }

    /// <summary>In 32-bit code the instruction pointer may wrap in the last page, which is not worth thinking about.</summary>
    private static bool WrapsAround(uint mode, ulong rip) => (mode & BlockMode.SizeMask) == BlockMode.Code32 && rip >= 0xFFFF_F000;

    /// <summary>A translation of the block with fewer hoisted checks; null if its first instruction is the interpreter's.</summary>
    public Translation? Find(Block* block, Hoisting hoisting)
    {
        TranslationKey key = TranslationKey.Of(block, hoisting);
        return _translations.Find(key) ?? (TryTranslate(block, hoisting, out _) ? _translations.Find(key) : null);
    }

    /// <summary>A block was decoded anew: its translation may still be there, or one of the same bytes elsewhere.</summary>
    public void Attach(Block* block)
    {
        if (_orphans && _translations.Find(TranslationKey.Of(block, Hoisting.All)) is { } found)
            Attach(block, found);
        else if (!NeedsFlush)
            TryMove(block, Hoisting.All);
    }

    private static void Attach(Block* block, Translation translation)
    {
        translation.Origin = block;
        block->Native = translation.Entry;
        block->Translation = translation.Number;
    }

    /// <summary>The instruction at a backing offset, as far as its page holds it, in the mode that is current.</summary>
    public Instruction Decode(ulong offset, ulong rip) =>
        _analysis.Reader.One(_memory.BackingBase + offset, 4096 - (int)(offset & 0xFFF), rip, (_low.State->Mode & BlockMode.SizeMask) == BlockMode.Code32);

    /// <summary>The instruction that begins at the end of one page and ends in another.</summary>
    public Instruction DecodeAcross(ulong offset, ulong second, ulong rip)
    {
        byte* gathered = stackalloc byte[32];
        int first = 4096 - (int)(offset & 0xFFF);
        Gather(gathered, offset, first, second, 16);
        return _analysis.Reader.One(gathered, first + 16, rip, (_low.State->Mode & BlockMode.SizeMask) == BlockMode.Code32);
    }

    /// <summary>Up to 16 bytes from each of two places, side by side.</summary>
    private void Gather(byte* to, ulong offset, int length, ulong second, int secondLength)
    {
        Buffer.MemoryCopy(_memory.BackingBase + offset, to, 16, length);
        Buffer.MemoryCopy(_memory.BackingBase + second, to + length, 16, secondLength);
    }

    /// <summary>Arithmetic flags that code may read before it writes them, by the same analysis that translations are made with.</summary>
    public RflagsBits LiveFrom(ulong offset, ulong rip, uint mode) =>
        _analysis.LiveFrom(_memory.BackingBase + (offset & ~0xFFFul), rip, ModeRules.Of(mode, _features));

    private Assembler At(nint executable) => _code.At(executable);

    public void Dispose()
    {
        _mmu.Listener = null;
        _mmu.Spaces = null;
        _code.Dispose();
        _sites.Dispose();
        _translations.Dispose();
    }
}
