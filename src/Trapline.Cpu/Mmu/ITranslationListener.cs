namespace Trapline.Cpu.Mmu;

/// <summary>Who keeps jumps that rely on translations of code pages, and must hear when those may have changed.</summary>
public interface ITranslationListener
{
    /// <summary>The privilege context or the current address space changed, or its non-global translations were flushed.</summary>
    void SpaceChanged();

    /// <summary>One page of the address space with this tag was flushed, from global translations too.</summary>
    void PageFlushed(ulong linear, ulong tag);

    /// <summary>Every translation was flushed, global ones too.</summary>
    void AllFlushed();
}
