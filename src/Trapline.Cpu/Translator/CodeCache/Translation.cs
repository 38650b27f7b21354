using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.Passes;

namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>One translated block.</summary>
public sealed unsafe class Translation
{
    /// <summary>Backing-store offset of its first guest byte; with RIP and mode its identity.</summary>
    public required ulong Offset { get; init; }
    /// <summary>Where its one instruction continues in a second page, or <see cref="Interpreter.Block.NoPage"/>.</summary>
    public required ulong SecondOffset { get; init; }
    public int SecondBytes { get; set; }
    public required ulong Rip { get; init; }
    public required uint Mode { get; init; }

    /// <summary>Made without stack windows, for frames that straddle pages.</summary>
    public bool Safe { get; init; }

    public nint Entry { get; set; }
    public int HotBytes { get; set; }

    /// <summary>The part that lies out of line: its exits.</summary>
    public nint Cold { get; set; }
    public int ColdBytes { get; set; }

    public int CodeBytes => HotBytes + ColdBytes;

    /// <summary>Ranges of guest bytes (offset in the page, length) that it depends on: its own, and those looked at for flags.</summary>
    public List<(int Start, int Length)> Ranges { get; } = [];

    /// <summary>Sites linked to its entry.</summary>
    public List<int> Incoming { get; } = [];

    /// <summary>Its own sites' numbers: first and one past the last.</summary>
    public int FirstSite { get; set; }
    public int EndSite { get; set; }

    public bool Dropped { get; set; }

    /// <summary>How often a hoisted check straddled two pages since <see cref="StraddlesSince"/> (milliseconds).</summary>
    public int Straddles { get; set; }
    public long StraddlesSince { get; set; }

    /// <summary>For people: who runs it, and how it was made.</summary>
    public string ModeName => BlockMode.Context(Mode) switch
    {
        SoftTlb.User => "user",
        SoftTlb.SupervisorAc => "kernel+ac",
        _ => "kernel",
    } + ((Mode & BlockMode.SizeMask) == BlockMode.Code32 ? " 32-bit" : "");

    public string Flavour => Safe ? "safe" : Hoisting == Hoisting.All ? "hoisted" : $"hoisted {Hoisting.ToString().ToLowerInvariant()} only";

    /// <summary>Which checks stand at the front of the accesses they are for.</summary>
    public Hoisting Hoisting { get; set; }

    /// <summary>The decoded block whose <c>Native</c> leads here.</summary>
    internal Block* Origin { get; set; }
}
