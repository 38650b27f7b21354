namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>Why translated code returned to managed code.</summary>
public enum ExitKind : byte
{
    /// <summary>The instruction at <see cref="ExitSite.Rip"/> is the interpreter's.</summary>
    Interpret,
    ReadMiss,
    WriteMiss,
    /// <summary>The stack window does not cover the accesses that follow.</summary>
    Window,
    /// <summary>A hoisted check covers two pages: the instruction at <see cref="ExitSite.Rip"/> goes on in a translation without such checks, linked here.</summary>
    Straddle,
    /// <summary>A direct jump or call to <see cref="ExitSite.Rip"/> that is not linked, or whose link is for another address space.</summary>
    Link,
    /// <summary>The target of an indirect jump or call is not in the jump cache. Nothing has changed yet.</summary>
    JumpMiss,
    /// <summary>The instruction reads the time-stamp counter. Nothing else of the state changes.</summary>
    Time,
    /// <summary>Attention is wanted; go on at <see cref="ExitSite.Rip"/>.</summary>
    Attention,
}

/// <summary>How the bytes of a direct jump are laid out.</summary>
public enum LinkForm : byte
{
    None,
    /// <summary>A 32-bit displacement: the target is in the same guest page, so it cannot move without this code.</summary>
    Near,
    /// <summary>A region that tests <c>LinkId</c> before it jumps.</summary>
    FarJump,
    /// <summary>A region that tests <c>LinkId</c> and the return stack's depth before it calls.</summary>
    FarCall,
    /// <summary>An inline cache: a region that tests <c>LinkId</c> and the target of an indirect jump before it jumps, and goes on behind itself otherwise.</summary>
    InlineJump,
    /// <summary>The same for an indirect call, which is made at <see cref="ExitSite.Cold"/>.</summary>
    InlineCall,
}

/// <summary>A place where translated code leaves, and what managed code needs to know there.</summary>
public struct ExitSite
{
    public ExitKind Kind;
    public LinkForm Form;
    public byte Size;
    public bool Vectors;

    /// <summary>For the site that marks an x87 instruction: its opcode as the FPU keeps it.</summary>
    public ushort X87Opcode;

    /// <summary>For such a site: it was FNINIT, which clears the pointers.</summary>
    public bool X87Cleared;

    /// <summary>How often a far link was made anew for another address space, or an inline cache for another target.</summary>
    public byte Relinks;

    public ulong Rip;

    /// <summary>Where to go on once the cause is removed.</summary>
    public nint Resume;

    /// <summary>The displacement (near) or the region (far) that a link rewrites, and where it leads unlinked.</summary>
    public nint Patch;
    public nint Cold;

    /// <summary>For a far call: a jump to <see cref="Cold"/> near enough for JRCXZ. For an inline cache's call: its displacement.</summary>
    public nint Island;

    /// <summary>For attention: the instruction has not begun.</summary>
    public bool Before;

    /// <summary>For straddles: the check is that of a group, not of a stack window.</summary>
    public bool Group;

    /// <summary>For an inline cache: the link number that it was made in.</summary>
    public ushort LinkedIn;

    /// <summary>For windows: bytes from the missed address to the window's end.</summary>
    public int Span;

    /// <summary>The number of the translation that it is in; 0 if in none.</summary>
    public int Owner;

    /// <summary>The translation whose entry it leads to, or led to last; 0 if it was never linked. Its sites are a list (<see cref="Translation.Incoming"/>).</summary>
    public int LinkedTo;
    public int NextIncoming;
    public int PreviousIncoming;
}
