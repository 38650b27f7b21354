using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;

namespace Trapline.Cpu.Translator;

/// <summary>What can be known of a block before code is emitted for it: Frontend reads it, Passes work out its flags, stack windows and groups.</summary>
/// <remarks>Depends on nothing but the bytes of one page, and the mode.</remarks>
public sealed unsafe class BlockAnalysis
{
    private readonly Func<ulong, RflagsBits> _liveAt;
    private byte* _page;
    private bool _closed;

    public BlockAnalysis() => _liveAt = LiveAt;

    public GuestBlock Block { get; } = new();

    /// <summary>Ranges of the page (offset, length) that were looked at for flags.</summary>
    public List<(ushort Start, ushort Length)> Looked { get; } = [];

    /// <summary>Ranges of its page that the block's instructions lie in.</summary>
    public IEnumerable<(ushort Start, ushort Length)> OwnRanges()
    {
        if (!Block.IsLoop)
            return [RangeOf(Block.Rip, Block.Bytes)];
        return Block.Instructions.Take(Block.Count).Select(i => RangeOf(i.Rip, i.Length));
    }

    private static (ushort Start, ushort Length) RangeOf(ulong rip, int length)
    {
        int within = (int)(rip & 0xFFF);
        return ((ushort)within, (ushort)Math.Min(length, 4096 - within));
    }

    /// <summary>For reading single instructions.</summary>
    public BlockReader Reader { get; } = new();

    /// <summary>Reads the block and runs the passes.</summary>
    /// <param name="page">The page of its first byte.</param>
    /// <param name="code">Its first byte, and <paramref name="length"/> bytes; in the page, or elsewhere if it spans two.</param>
    /// <param name="most">Instructions.</param>
    /// <param name="closed">No code that follows decides anything: all flags are live wherever it leads.</param>
    /// <param name="exact">Flags that no one reads survive, too.</param>
    /// <returns>False: it has not even one whole instruction.</returns>
    public bool Run(byte* page, byte* code, int length, ulong rip, in ModeRules rules, Hoisting hoisting, int most, bool closed, bool exact)
    {
        if (!Read(page, code, length, rip, rules, most))
            return false;
        _closed = closed;
        RunFlagLiveness();
        if (exact)
            FlagLiveness.KeepAll(Block);
        if ((hoisting & Hoisting.Windows) != 0)
        {
            StackWindows.Run(Block);
            WindowPlacement.Run(Block);
        }
        if ((hoisting & Hoisting.Groups) != 0)
            SameBaseGroups.Run(Block);
        FlagSources.Run(Block);
        return true;
    }

    /// <summary>Reads an iteration of a loop and runs the passes.</summary>
    /// <param name="code">The byte at the first address of <paramref name="path"/>.</param>
    /// <param name="then">See <see cref="BlockReader.ReadLoop"/>.</param>
    /// <param name="renamed">See <see cref="RegisterRenaming.Run"/>.</param>
    /// <returns>False: it cannot be one block.</returns>
    public bool RunLoop(byte* page, byte* code, ReadOnlySpan<ulong> path, ulong then, byte* renamed, in ModeRules rules)
    {
        _page = page;
        _closed = false;
        Looked.Clear();
        if (!Reader.ReadLoop(page, path, then, rules, Block))
            return false;
        RegisterRenaming.Run(Block, code, renamed, Reader, rules);
        FlagLiveness.Run(Block, LiveAt(then), _liveAt);
        StackWindows.Run(Block);
        LoopWindow.Run(Block);
        WindowPlacement.Run(Block);
        SameBaseGroups.Run(Block);
        FlagSources.Run(Block);
        return true;
    }

    /// <summary>Arithmetic flags that the code at an address of the page may read before it writes them.</summary>
    public RflagsBits LiveFrom(byte* page, ulong rip, in ModeRules rules)
    {
        int within = (int)(rip & 0xFFF);
        if (!Read(page, page + within, 4096 - within, rip, rules, GuestBlock.MaxInstructions))
            return CodeFacts.Arithmetic;
        _closed = false;
        RunFlagLiveness();
        // A block's passes know which instructions are the interpreter's, and keep all flags for those; who jumps here looks at less and more.
        return Block.Instructions[0].LiveBefore & LiveAt(rip);
    }

    /// <summary>Flags live at a guest address: worked out in the block's page, else taken to be all.</summary>
    public RflagsBits LiveAt(ulong target)
    {
        if (_closed || (target ^ Block.Rip) >> 12 != 0)
            return CodeFacts.Arithmetic;
        int within = (int)(target & 0xFFF);
        RflagsBits live = Reader.LiveAt(_page + within, 4096 - within, target, Block.Code32, out int looked);
        Looked.Add(((ushort)within, (ushort)looked));
        return live;
    }

    private bool Read(byte* page, byte* code, int length, ulong rip, in ModeRules rules, int most)
    {
        _page = page;
        Looked.Clear();
        Reader.Read(code, length, rip, most, rules, Block);
        return Block.Count != 0;
    }

    private void RunFlagLiveness()
    {
        RflagsBits atEnd = Block.EndsAtPage ? CodeFacts.Arithmetic : LiveAt(Block.Instructions[Block.Count - 1].NextRip);
        FlagLiveness.Run(Block, atEnd, _liveAt);
    }
}
