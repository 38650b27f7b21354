using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Debugging;

/// <summary>Tells one vCPU's translations to an observer of engines.</summary>
internal sealed class TranslationTrace(IEngineTrace trace, int vcpu, BlockTranslator translator) : ITranslationWatcher
{
    public void Translated(GuestBlock block, Translation translation) => trace.Translated(vcpu, new TranslationReport(
        translation.Rip, translation.ModeName, translation.Flavour, block.Count, block.Bytes, translation.Entry, translation.CodeBytes,
        () => translator.List(block, translation)));

    public void Moved(Translation translation, Translation from) => trace.TranslationMoved(
        vcpu, translation.Rip, translation.ModeName, translation.Flavour, from.Rip, translation.Entry, translation.HotBytes);

    public void Dropped(Translation translation) =>
        trace.TranslationDropped(vcpu, translation.Rip, translation.ModeName, translation.Flavour);

    public void Flushed(int translations, string reason) => trace.TranslationsFlushed(vcpu, translations, reason);
}
