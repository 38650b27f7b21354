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

    /// <summary>Which checks stand at the front of the accesses they are for.</summary>
    public required Hoisting Hoisting { get; init; }

    /// <summary>It is a hot loop, joined along the way that it mostly takes.</summary>
    public bool IsLoop { get; init; }

    internal TranslationKey Key => new(Offset, SecondOffset, Rip, Mode, Hoisting);

    /// <summary>Its place in the translator's list, until the code cache is emptied.</summary>
    internal int Number { get; init; }

    public nint Entry { get; set; }
    public int HotBytes { get; set; }

    /// <summary>The part that lies out of line: its exits.</summary>
    public nint Cold { get; set; }
    public int ColdBytes { get; set; }

    public int CodeBytes => HotBytes + ColdBytes;

    /// <summary>Ranges of guest bytes (offset in the page, length) that it depends on: its own, and those looked at for flags.</summary>
    public (ushort Start, ushort Length)[] Ranges { get; set; } = [];

    /// <summary>The first of the sites that are linked to its entry; 0 if there is none.</summary>
    internal int Incoming { get; set; }

    /// <summary>Its own sites' numbers: first and one past the last.</summary>
    public int FirstSite { get; set; }
    public int EndSite { get; set; }

    public bool Dropped { get; set; }

    /// <summary>What to mend in a copy of it for the same guest code at another address; null if it cannot be copied.</summary>
    public Relocation[]? Relocations { get; set; }

    /// <summary>For people: who runs it, and how it was made.</summary>
    public string ModeName => BlockMode.Context(Mode) switch
    {
        SoftTlb.User => "user",
        SoftTlb.SupervisorAc => "kernel+ac",
        _ => "kernel",
    } + ((Mode & BlockMode.SizeMask) == BlockMode.Code32 ? " 32-bit" : "");

    public string Flavour => Hoisting switch
    {
        Hoisting.All when IsLoop => "hot loop",
        Hoisting.All => "hoisted",
        Hoisting.None => "safe",
        _ => $"hoisted {Hoisting.ToString().ToLowerInvariant()} only",
    };

    /// <summary>The decoded block whose <c>Native</c> leads here.</summary>
    internal Block* Origin { get; set; }
}
