using Iced.Intel;

namespace Trapline.Cpu.Translator.Verify;

/// <summary>What one block's two runs are compared by.</summary>
public sealed class Lockstep : IDisposable
{
    /// <summary>The state before the block, and as the translation left it.</summary>
    public RegisterFile Before;
    public RegisterFile Translated;

    /// <summary>The translation's arithmetic flags.</summary>
    public ulong TranslatedFlags;

    /// <summary>For a translation made as a loop: the flags that its own analysis, which sees farther, holds for live before its instructions.</summary>
    public Dictionary<ulong, RflagsBits> LiveInLoop { get; } = [];

    /// <summary>The translation keeps all flags.</summary>
    public bool Exact { get; set; }

    public PageLog Pages { get; } = new();

    /// <summary>Blocks compared, and blocks that read what the architecture leaves undefined.</summary>
    public long Compared { get; set; }
    public long Incomparable { get; set; }

    public void Dispose() => Pages.Dispose();
}
