using Trapline.Cpu.Mmu;

namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>
/// Gives each address space, as the tagged TLB knows it, a number under which links between pages hold. A number dies when a translation of a page with
/// linked code in it is flushed, and is never used twice within a generation of the code cache.
/// </summary>
/// <remarks>
/// The contexts of rings 0 to 2 have one number each whatever the address space, since only code in global pages is linked there.
/// </remarks>
public sealed class LinkScopes
{
    /// <summary>Numbers differ in 16 bits, which the jump cache's keys rely on.</summary>
    private const uint Last = 0xFFFF;

    /// <summary>When the numbers are used up: under it nothing is linked, until the code cache is emptied.</summary>
    public const uint NoLinks = Last;
    private readonly Dictionary<ulong, uint> _users = [];
    private readonly uint[] _contexts = new uint[SoftTlb.Contexts];
    private readonly HashSet<(uint Id, ulong Page)> _pages = [];
    private uint _next = 1;

    /// <summary>The numbers are nearly used up: the code cache must be emptied and <see cref="Restart"/> called.</summary>
    public bool Exhausted => _next > Last - 16;

    /// <param name="context">Soft-TLB context.</param>
    /// <param name="tag">The tagged TLB's tag of the current address space.</param>
    public uint IdOf(int context, ulong tag)
    {
        if (_next >= Last)
            return NoLinks;
        if (context != SoftTlb.User)
            return _contexts[context] != 0 ? _contexts[context] : _contexts[context] = _next++;
        if (!_users.TryGetValue(tag, out uint id))
        {
            if (_users.Count > 4096)
                _users.Clear(); // tags of dead address spaces pile up; the living get new numbers
            _users[tag] = id = _next++;
        }
        return id;
    }

    /// <summary>Code of this page takes part in a link or the jump cache under this number.</summary>
    public void Note(uint id, ulong linear) => _pages.Add((id, linear >> 12));

    /// <summary>One page's translation was flushed. True if a number died.</summary>
    public bool PageFlushed(ulong linear, ulong tag)
    {
        ulong page = linear >> 12;
        bool died = false;
        if (_users.TryGetValue(tag, out uint id) && _pages.Contains((id, page)))
        {
            _users.Remove(tag);
            died = true;
        }
        for (int context = 0; context < _contexts.Length; context++)
            if (_contexts[context] != 0 && _pages.Contains((_contexts[context], page)))
            {
                _contexts[context] = 0;
                died = true;
            }
        return died;
    }

    /// <summary>Every translation was flushed, global ones too.</summary>
    public void AllFlushed()
    {
        _users.Clear();
        Array.Clear(_contexts);
    }

    public void Restart()
    {
        AllFlushed();
        _pages.Clear();
        _next = 1;
    }
}
