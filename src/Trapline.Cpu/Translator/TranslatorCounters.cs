using Trapline.X86;

namespace Trapline.Cpu.Translator;

/// <summary>What the translator did so far: blocks, links, and each reason for leaving translated code.</summary>
public struct TranslatorCounters
{
    public long Translated;
    public long GuestInstructions;
    public long Moved;
    public long Loops;
    public long Linked;
    public long Dropped;
    public long Flushes;
    public long ReadMisses;
    public long WriteMisses;
    public long WindowMisses;
    public long Straddles;
    public long LinkExits;
    public long JumpMisses;
    public long InlineLinks;
    public long InlineGivenUp;
    public long AttentionExits;
    public long TimeExits;
    public long Interpreted;

    public readonly IEnumerable<EngineDetail> Describe() =>
    [
        new("translation", "blocks translated", Translated),
        new("translation", "guest instructions in them", GuestInstructions),
        new("translation", "copied for another address", Moved),
        new("translation", "hot loops translated as one block", Loops),
        new("invalidation", "translations dropped, their code written to", Dropped),
        new("invalidation", "flushes of the whole code cache", Flushes),
        new("chain", "links made", Linked),
        new("chain", "exits: direct jump not linked", LinkExits),
        new("jump cache", "exits: indirect jump not in it", JumpMisses),
        new("inline cache", "links made", InlineLinks),
        new("inline cache", "given up: too many targets", InlineGivenUp),
        new("soft TLB", "exits: read missed", ReadMisses),
        new("soft TLB", "exits: write missed", WriteMisses),
        new("stack window", "exits: another page", WindowMisses),
        new("stack window", "exits: frame or structure across two pages, not linked", Straddles),
        new("other", "exits: attention", AttentionExits),
        new("other", "exits: the time is asked for", TimeExits),
        new("other", "exits: one instruction interpreted", Interpreted),
    ];
}
