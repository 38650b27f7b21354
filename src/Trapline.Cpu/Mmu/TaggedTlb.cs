using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Trapline.Cpu.Mmu;

/// <summary>A translation that the page walker found, with the rights of all its levels combined.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TlbEntry
{
    /// <summary>Linear page number of the entry's own size, plus 1; 0 is empty.</summary>
    public ulong Page;

    /// <summary>Guest-physical address of the page's first byte.</summary>
    public ulong Frame;

    /// <summary>PCID in bits 0-11, VPID or ASID (0 now) in 12-27, and in the upper half the PCID's generation: raising it drops them all.</summary>
    public ulong Tag;

    public TlbRights Rights;
    public byte ProtectionKey;
}

/// <summary>Rights and facts of a cached translation.</summary>
[Flags]
public enum TlbRights : byte
{
    None = 0,
    Writable = 1,
    User = 2,
    NoExecute = 4,
    Dirty = 8,
    Global = 16,
}

/// <summary>
/// The second-level TLB: set-associative, tagged by PCID, as the architecture describes it (SDM Vol. 3, 4.10). Entries survive a CR3 switch.
/// </summary>
/// <remarks>4 KiB, 2/4 MiB and 1 GiB pages have arrays of their own, so that INVLPG finds a large page by any address within it.</remarks>
public sealed unsafe class TaggedTlb : IDisposable
{
    private const int Ways = 4;
    private readonly TlbEntry* _entries;
    private readonly Level[] _levels;
    private readonly int _count;
    private readonly uint[] _generations = new uint[4096];
    private uint _clock;

    private readonly record struct Level(int Shift, int Sets, int First);

    public TaggedTlb()
    {
        _levels = [new(12, 1024, 0), new(21, 64, 1024 * Ways), new(22, 16, 1088 * Ways), new(30, 4, 1104 * Ways)];
        _count = 1108 * Ways;
        _entries = (TlbEntry*)NativeMemory.AllocZeroed((nuint)_count, (nuint)sizeof(TlbEntry));
    }

    /// <summary>The tag under which a PCID's translations are cached now.</summary>
    public ulong TagOf(uint pcid) => pcid | (ulong)_generations[pcid] << 32;

    /// <summary>The translation of a small page will be looked for soon.</summary>
    public void Prefetch(ulong linear)
    {
        if (!Sse.IsSupported)
            return;
        byte* set = (byte*)(_entries + (int)(linear >> 12 & 1023) * Ways);
        Sse.Prefetch0(set);
        Sse.Prefetch0(set + 64);
    }

    /// <summary>Finds the translation of <paramref name="linear"/> under <paramref name="pcid"/>; null if it is not cached.</summary>
    public TlbEntry* Find(ulong linear, uint pcid, out int shift)
    {
        ulong tag = TagOf(pcid);
        foreach (ref readonly Level level in _levels.AsSpan())
        {
            ulong page = linear >> level.Shift;
            TlbEntry* set = _entries + level.First + (int)(page & (uint)(level.Sets - 1)) * Ways;
            for (int way = 0; way < Ways; way++)
                if (set[way].Page == page + 1 && (set[way].Tag == tag || (set[way].Rights & TlbRights.Global) != 0))
                {
                    shift = level.Shift;
                    return set + way;
                }
        }
        shift = 0;
        return null;
    }

    /// <param name="evictedLarge">A large page had to make room: what was derived from it can no longer be found by INVLPG.</param>
    public TlbEntry* Insert(ulong linear, uint pcid, int shift, in TlbEntry entry, out bool evictedLarge)
    {
        evictedLarge = false;
        ulong tag = TagOf(pcid);
        foreach (ref readonly Level level in _levels.AsSpan())
        {
            if (level.Shift != shift)
                continue;
            ulong page = linear >> shift;
            TlbEntry* set = _entries + level.First + (int)(page & (uint)(level.Sets - 1)) * Ways;
            TlbEntry* victim = set + (_clock++ & (Ways - 1));
            for (int way = 0; way < Ways; way++)
                if (set[way].Page == 0 || (set[way].Page == page + 1 && set[way].Tag == tag))
                {
                    victim = set + way;
                    break;
                }
            evictedLarge = shift != 12 && victim->Page != 0 && victim->Page != page + 1;
            *victim = entry;
            victim->Page = page + 1;
            victim->Tag = tag;
            return victim;
        }
        return null;
    }

    /// <summary>Drops every entry, global ones too.</summary>
    public void FlushAll() => NativeMemory.Clear(_entries, (nuint)_count * (nuint)sizeof(TlbEntry));

    /// <summary>Drops non-global entries of every tag.</summary>
    public void FlushNonGlobal()
    {
        for (int pcid = 0; pcid < _generations.Length; pcid++)
            _generations[pcid]++; // who keeps something by tag must see that it ended
        for (int i = 0; i < _count; i++)
            if ((_entries[i].Rights & TlbRights.Global) == 0)
                _entries[i].Page = 0;
    }

    /// <summary>Drops one PCID's non-global entries, in constant time.</summary>
    public void FlushPcid(uint pcid) => _generations[pcid]++;

    /// <summary>Drops what maps one address under one PCID (and global entries if asked). True if a large page was among it.</summary>
    public bool FlushPage(ulong linear, uint pcid, bool global)
    {
        ulong tag = TagOf(pcid);
        bool large = false;
        foreach (ref readonly Level level in _levels.AsSpan())
        {
            ulong page = linear >> level.Shift;
            TlbEntry* set = _entries + level.First + (int)(page & (uint)(level.Sets - 1)) * Ways;
            for (int way = 0; way < Ways; way++)
            {
                bool isGlobal = (set[way].Rights & TlbRights.Global) != 0;
                if (set[way].Page == page + 1 && (isGlobal ? global : set[way].Tag == tag))
                {
                    set[way].Page = 0;
                    large |= level.Shift != 12;
                }
            }
        }
        return large;
    }

    public void Dispose() => NativeMemory.Free(_entries);
}
