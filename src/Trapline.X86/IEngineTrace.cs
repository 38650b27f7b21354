namespace Trapline.X86;

/// <summary>One paging-structure entry that a walk read, for people who want to see it.</summary>
/// <param name="Level">4 for the PML4 down to 1 for the page table.</param>
/// <param name="EntryAddress">Guest-physical address of the entry.</param>
public readonly record struct WalkStep(int Level, ulong EntryAddress, ulong Entry);

/// <summary>What an engine tells a curious observer while it runs; an engine without one pays a null check on slow paths only.</summary>
public interface IEngineTrace
{
    /// <summary>An exception is about to be delivered. <paramref name="address"/> is CR2 for a page fault.</summary>
    void Exception(int vcpu, byte vector, uint errorCode, ulong rip, ulong address);

    /// <summary>The page walker translated an address, or failed to.</summary>
    /// <param name="steps">The entries on the way, root first.</param>
    /// <param name="gpa">Where it leads; null if the walk faulted.</param>
    /// <param name="hva">The host address of the same byte; null for MMIO and holes.</param>
    void PageWalk(int vcpu, ulong gva, ReadOnlySpan<WalkStep> steps, ulong? gpa, nint? hva);

    /// <summary>Guest code was translated.</summary>
    void Translated(int vcpu, TranslationReport translation);

    /// <summary>A translation was copied for the same code at another address.</summary>
    /// <param name="from">Where the code ran that the original is for.</param>
    void TranslationMoved(int vcpu, ulong rip, string mode, string flavour, ulong from, nint hostAddress, int hostBytes);

    /// <summary>A translation is void: its code was written to.</summary>
    void TranslationDropped(int vcpu, ulong rip, string mode, string flavour);

    /// <summary>The code cache was emptied of so many translations.</summary>
    void TranslationsFlushed(int vcpu, int count, string reason);
}
