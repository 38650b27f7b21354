namespace Trapline.Cpu.Translator;

/// <summary>What the translator did so far: blocks, links, and each reason for leaving translated code.</summary>
public struct TranslatorCounters
{
    public long Translated;
    public long GuestInstructions;
    public long Linked;
    public long Dropped;
    public long Flushes;
    public long ReadMisses;
    public long WriteMisses;
    public long WindowMisses;
    public long Straddles;
    public long Demoted;
    public long LinkExits;
    public long JumpMisses;
    public long AttentionExits;
    public long Interpreted;

    public readonly IEnumerable<(string Name, long Value)> ByName() =>
    [
        ("blocks translated", Translated),
        ("guest instructions translated", GuestInstructions),
        ("links made", Linked),
        ("translations dropped", Dropped),
        ("translations made anew without hoisted checks", Demoted),
        ("code cache flushes", Flushes),
        ("exits: read missed the soft TLB", ReadMisses),
        ("exits: write missed the soft TLB", WriteMisses),
        ("exits: stack window", WindowMisses),
        ("exits: stack frame or structure across two pages", Straddles),
        ("exits: direct jump not linked", LinkExits),
        ("exits: indirect jump not cached", JumpMisses),
        ("exits: attention", AttentionExits),
        ("exits: one instruction interpreted", Interpreted),
    ];
}
