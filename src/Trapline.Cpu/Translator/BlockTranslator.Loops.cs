using Iced.Intel;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;

namespace Trapline.Cpu.Translator;

/// <summary>
/// Hot loops are translated once more, with more effort: the blocks that an iteration executes become one, and guest registers that live in memory get host
/// registers for as long as it runs.
/// </summary>
/// <remarks>
/// Attention finds them: timers raise it every few milliseconds of guest time, and a loop that never ends looks at it. Whichever loop is often found
/// looking is hot. Its translation is dropped; the interpreter, which then comes to its beginning, notes which way some iterations take
/// (<see cref="LoopWatch"/>), and the way that most of them take is translated. Jumps that leave it lead to blocks, as ever.
/// </remarks>
public sealed unsafe partial class BlockTranslator
{
    /// <summary>Findings that make a loop hot.</summary>
    private const int HotAfter = 3;

    /// <summary>As many more are wanted of a loop that was watched in vain: another time it may take one way.</summary>
    private const int AgainAfter = 30;

    /// <summary>No loop begins here: not canonical.</summary>
    private const ulong Nowhere = 1ul << 63;

    private readonly Dictionary<(ulong Offset, ulong Rip, uint Mode), int> _found = [];
    private (ulong Offset, ulong Rip, uint Mode) _watched;

    /// <summary>Where the loop begins whose way is wanted. Another address in vain costs no more than a comparison.</summary>
    public ulong WatchedLoop { get; private set; } = Nowhere;

    /// <summary>What was seen of it.</summary>
    internal LoopWatch Watch { get; } = new();

    /// <summary>Attention was wanted where a jump back may have been about to be taken.</summary>
    public void NoteAttention(in ExitSite site)
    {
        if (OwnerOf(site) is not { IsLoop: false } owner || (owner.Mode & BlockMode.SizeMask) != BlockMode.Code64 || owner.SecondOffset != Block.NoPage)
            return;
        ulong page = owner.Offset & ~0xFFFul, head = site.Rip;
        if (site.Before)
        {
            Instruction jump = Decode(page + (site.Rip & 0xFFF), site.Rip);
            if (!jump.IsJccShortOrNear)
                return;
            head = jump.NearBranchTarget;
        }
        if ((head ^ owner.Rip) >> 12 != 0)
            return;
        (ulong Offset, ulong Rip, uint Mode) loop = (page + (head & 0xFFF), head, owner.Mode);
        if (_found.Count > 1024)
            _found.Clear();
        ref int times = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_found, loop, out _);
        if (++times != HotAfter || _translations.Find(new TranslationKey(loop.Offset, Block.NoPage, head, owner.Mode, Hoisting.All)) is not { } begins)
            return;
        Drop(begins);
        if (WatchedLoop != Nowhere)
            _found[_watched] = HotAfter - 1; // it has not come for long
        Watch.Begin();
        _watched = loop;
        WatchedLoop = head;
    }

    /// <summary>The block is the beginning of the watched loop, and not only at its address.</summary>
    public bool IsWatched(Block* block) => block->Rip == _watched.Rip && block->Offset == _watched.Offset && block->Mode == _watched.Mode;

    /// <summary>The loop's way is known, or there is none that it mostly takes.</summary>
    public void EndWatch(bool known)
    {
        WatchedLoop = Nowhere;
        if (known)
            _found.Remove(_watched);
        else
            _found[_watched] = HotAfter - AgainAfter;
    }

    /// <summary>Translates the instructions of an iteration. False: they cannot be one block.</summary>
    /// <param name="path">Their addresses, all in the block's page; the first is the block's.</param>
    public bool TryTranslateLoop(Block* block, ReadOnlySpan<ulong> path) => TryTranslateWay(block, path, block->Rip, out _);

    /// <summary>For fuzzers: what follows a block's beginning, straight on, as if it were an iteration of a loop.</summary>
    /// <param name="most">Instructions.</param>
    internal bool TryTranslateAsLoop(Block* block, int most, out nint entry)
    {
        Span<ulong> path = stackalloc ulong[most];
        ulong rip = block->Rip;
        int count = 0;
        entry = 0;
        while (count < most && (rip ^ block->Rip) >> 12 == 0 && block->SecondOffset == Block.NoPage)
        {
            Instruction next = Decode((block->Offset & ~0xFFFul) + (rip & 0xFFF), rip);
            if (next.IsInvalid || CodeFacts.Of(next).Treatment is Treatment.Interpret or Treatment.Jump)
                break;
            path[count++] = rip;
            rip = next.NextIP;
        }
        for (; count > 0; count--)
        {
            if ((rip ^ block->Rip) >> 12 == 0 && (rip & 0xFFF) <= 4096 - RegisterRenaming.MaxLength && TryTranslateWay(block, path[..count], rip, out entry))
                return true;
            rip = path[count - 1];
        }
        return false;
    }

    /// <summary>Flags that are live before each instruction of the block that was analysed last.</summary>
    internal void NoteLiveness(Dictionary<ulong, RflagsBits> live)
    {
        foreach (ref readonly GuestInstruction i in _analysis.Block.All)
            live[i.Rip] = i.LiveBefore;
    }

    private bool TryTranslateWay(Block* block, ReadOnlySpan<ulong> path, ulong then, out nint entry)
    {
        entry = 0;
        long start = StartTime();
        byte* code = _memory.BackingBase + block->Offset;
        byte* renamed = stackalloc byte[GuestBlock.MaxJoined * RegisterRenaming.MaxLength];
        bool done = !NeedsFlush && _analysis.RunLoop(code - (block->Offset & 0xFFF), code, path, then, renamed, ModeRules.Of(block->Mode, _features));
        if (done)
        {
            entry = Emit(block, renamed, Hoisting.All);
            Counters.Loops++;
        }
        AddTime(ref _timeTranslating, start);
        return done;
    }
}
