namespace Trapline.Cpu.Translator;

/// <summary>What the translator did so far.</summary>
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
    public long WindowStraddles;
    public long LinkExits;
    public long JumpMisses;
    public long Interpreted;
    public long AttentionExits;
}
