using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Translator.Passes;

namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>What a translation was made from (backing-store offsets of its guest bytes, where they ran and in which mode), and which checks are hoisted in it.</summary>
internal readonly record struct TranslationKey(ulong Offset, ulong SecondOffset, ulong Rip, uint Mode, Hoisting Hoisting)
{
    public static unsafe TranslationKey Of(Block* block, Hoisting hoisting) => new(block->Offset, block->SecondOffset, block->Rip, block->Mode, hoisting);

    /// <summary>Looked up at every link: the compiler's would hash field after field.</summary>
    public override int GetHashCode()
    {
        ulong product = (Offset ^ Rip << 13) * 0x9E37_79B9_7F4A_7C15ul;
        return (int)(product >> 32) + (int)Mode * 4 + (int)Hoisting;
    }
}
