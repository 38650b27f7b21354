using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Debugging;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator;

/// <summary>Letting people see translations.</summary>
public sealed unsafe partial class BlockTranslator
{
    private TranslationListing? _listing;

    /// <summary>Who wants to see translations come and go; null for nobody.</summary>
    internal ITranslationWatcher? Watcher { get; set; }

    /// <summary>The translation beside its guest code, right after it was made.</summary>
    internal string List(GuestBlock block, Translation translation)
    {
        _listing ??= new TranslationListing(_addresses, _stubs, _sites, _low);
        return _listing.Show(block, translation);
    }
}
