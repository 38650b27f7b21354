using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;

namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>
/// Gives each address space, as the tagged TLB knows it, a number under which links between pages hold. A number dies when a translation of a page with
/// linked code in it is flushed, and is never used twice within a generation of the code cache.
/// </summary>
/// <remarks>
/// Rings 0 to 2 have the same number whatever the address space if there are global pages, since only code in those is linked then. Every mode has numbers of its own:
/// the same bytes translate differently in it.
/// </remarks>
public sealed class LinkScopes
{
    /// <summary>Numbers differ by less than 65,535, which the jump cache's keys rely on.</summary>
    private const uint Last = 0xFFFE;

    /// <summary>How many there can be.</summary>
    public const int Numbers = 0x10000;

    /// <summary>When the numbers are used up: under it nothing is linked, until the code cache is emptied.</summary>
    public const uint NoLinks = Last;
    private readonly Dictionary<(uint Mode, ulong Tag), uint> _ids = [];
    private readonly List<uint> _modes = [];
    private readonly HashSet<ulong> _pages = [];
    private uint _next = 1;

    /// <summary>The last answer for each privilege context: rings change far more often than anything else.</summary>
    private readonly (uint Mode, ulong Tag, bool Globals, uint Id)[] _recent = new (uint, ulong, bool, uint)[SoftTlb.Contexts];

    /// <summary>The numbers are nearly used up: the code cache must be emptied and <see cref="Restart"/> called.</summary>
    public bool Exhausted => _next > Last - 16;

    /// <param name="mode">The mode that blocks are keyed by.</param>
    /// <param name="tag">The tagged TLB's tag of the current address space.</param>
    /// <param name="globals">There are global pages.</param>
    public uint IdOf(uint mode, ulong tag, bool globals = true)
    {
        if (_next >= Last)
            return NoLinks;
        ref (uint Mode, ulong Tag, bool Globals, uint Id) recent = ref _recent[BlockMode.Context(mode)];
        if (recent.Id != 0 && recent.Mode == mode && recent.Tag == tag && recent.Globals == globals)
            return recent.Id;
        if (!_modes.Contains(mode))
            _modes.Add(mode);
        if (!_ids.TryGetValue(KeyOf(mode, tag, globals), out uint id))
        {
            if (_ids.Count > 4096)
                Forget(); // tags of dead address spaces pile up; the living get new numbers
            _ids[KeyOf(mode, tag, globals)] = id = _next++;
        }
        recent = (mode, tag, globals, id);
        return id;
    }

    private static (uint Mode, ulong Tag) KeyOf(uint mode, ulong tag, bool globals) => (mode, !globals || BlockMode.Context(mode) == SoftTlb.User ? tag : 0);

    /// <summary>Code of this page takes part in a link or the jump cache under this number.</summary>
    public void Note(uint id, ulong linear) => _pages.Add(PageOf(id, linear));

    /// <summary>Page and number in one word: linear addresses have 48 bits.</summary>
    private static ulong PageOf(uint id, ulong linear) => (ulong)id << 36 | linear << 16 >> 28;

    /// <summary>One page's translation was flushed. True if a number died.</summary>
    public bool PageFlushed(ulong linear, ulong tag, bool globals = true)
    {
        bool died = false;
        foreach (uint mode in _modes)
            if (_ids.TryGetValue(KeyOf(mode, tag, globals), out uint id) && _pages.Contains(PageOf(id, linear)))
            {
                _ids.Remove(KeyOf(mode, tag, globals));
                Array.Clear(_recent);
                died = true;
            }
        return died;
    }

    /// <summary>Every translation was flushed, global ones too.</summary>
    public void AllFlushed() => Forget();

    private void Forget()
    {
        _ids.Clear();
        Array.Clear(_recent);
    }

    public void Restart()
    {
        AllFlushed();
        _pages.Clear();
        _next = 1;
    }
}
