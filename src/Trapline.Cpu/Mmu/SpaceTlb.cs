using System.Numerics;
using System.Runtime.InteropServices;

namespace Trapline.Cpu.Mmu;

/// <summary>
/// What the soft TLB knew, kept for each address space: where the first level misses, after a switch of address space or because two pages share a
/// slot, translated code refills it from here without leaving.
/// </summary>
/// <remarks>
/// Direct-mapped, reads and writes apart. An entry's key is the linear address of its page and, in the twelve bits that are zero there, the number of
/// the space: privilege context, width of addresses, and the tag under which the second level caches the space's translations. Global pages of the
/// upper half of the address space have a number for all tags, <see cref="GlobalTag"/>'s. A space that is flushed gets a new number; its old entries
/// are never found again. Write entries are checked against the page's marks when they are used, since code may have been taken from it meanwhile.
/// </remarks>
public sealed unsafe class SpaceTlb(ulong* entries)
{
    public const int IndexBits = 14;
    public const int Entries = 1 << IndexBits;

    /// <summary>No PCID's tag.</summary>
    public const ulong GlobalTag = ulong.MaxValue;

    /// <summary>Spreads what RORX by 12 makes of a key's lower half: the page's number and the space's.</summary>
    public const uint Spread = 0x9E37_79B1;

    /// <summary>Key and addend.</summary>
    private const int Words = 2;

    /// <summary>Size of both tables.</summary>
    public const int Bytes = 2 * Entries * Words * sizeof(ulong);

    /// <summary>Privilege contexts, with 64-bit and with 32-bit addresses.</summary>
    public const int Kinds = SoftTlb.Contexts * 2;

    private const uint Numbers = 4096;
    private readonly Dictionary<(int Kind, ulong Tag), uint> _numbers = [];
    private readonly (ulong Tag, uint Number)[] _last = new (ulong, uint)[2 * Kinds];
    private uint _next = 1;

    /// <summary>The numbers of a space, 1 to 4,095.</summary>
    /// <param name="kind">Privilege context and width of addresses, below <see cref="Kinds"/>.</param>
    /// <param name="tag">Of most pages.</param>
    /// <param name="tagAbove">Of those in the upper half.</param>
    public (uint Below, uint Above) NumbersOf(int kind, ulong tag, ulong tagAbove)
    {
        if (_next > Numbers - 2)
        {
            NativeMemory.Clear(entries, Bytes);
            Forget();
            _next = 1;
        }
        return (NumberOf(kind, kind, tag), NumberOf(Kinds + kind, kind, tagAbove));
    }

    private uint NumberOf(int place, int kind, ulong tag)
    {
        // Rings change far more often than address spaces.
        (ulong last, uint number) = _last[place];
        if (number != 0 && last == tag)
            return number;
        if (!_numbers.TryGetValue((kind, tag), out number))
            _numbers[(kind, tag)] = number = _next++;
        _last[place] = (tag, number);
        return number;
    }

    /// <param name="addend">Host address minus linear address.</param>
    public void Fill(uint number, bool write, ulong page, ulong addend)
    {
        ulong* entry = EntryOf(write, page | number);
        entry[0] = page | number;
        entry[1] = addend;
    }

    /// <summary>One page's translation under a tag is gone.</summary>
    public void FlushPage(ulong linear, ulong tag)
    {
        ulong page = linear & ~0xFFFul;
        for (int kind = 0; kind < Kinds; kind++)
        {
            if (!_numbers.TryGetValue((kind, tag), out uint number))
                continue;
            Drop(write: false, page | number);
            Drop(write: true, page | number);
        }
    }

    /// <summary>All spaces get new numbers.</summary>
    public void Forget()
    {
        _numbers.Clear();
        Array.Clear(_last);
    }

    private ulong* EntryOf(bool write, ulong key) =>
        entries + (write ? Entries * Words : 0) + (BitOperations.RotateRight((uint)key, 12) * Spread >> (32 - IndexBits)) * Words;

    private void Drop(bool write, ulong key)
    {
        ulong* entry = EntryOf(write, key);
        if (*entry == key)
            *entry = 0;
    }
}
