using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Debugging;

/// <summary>Is told of every translation made, dropped and flushed, on the vCPU's thread.</summary>
internal interface ITranslationWatcher
{
    /// <summary>Fresh from the emitter: nothing is linked yet.</summary>
    void Translated(GuestBlock block, Translation translation);

    /// <summary>Copied from one of the same bytes at another address.</summary>
    void Moved(Translation translation, Translation from);

    void Dropped(Translation translation);

    /// <summary>The code cache was emptied of so many translations.</summary>
    void Flushed(int translations, string reason);
}
