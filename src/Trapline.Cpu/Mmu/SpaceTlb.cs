using System.Runtime.InteropServices;

namespace Trapline.Cpu.Mmu;

/// <summary>
/// What the soft TLB knew, kept for each address space: where the first level misses, after a switch of address space or because two pages share a
/// slot, translated code refills it from here without leaving.
/// </summary>
/// <remarks>
/// Direct-mapped, reads and writes apart. An entry's key is the linear address of its page and, in the twelve bits that are zero there, the number of
/// the space: privilege context, width of addresses, and the tag under which the second level caches the space's translations. A space that is flushed
/// gets a new number; its old entries are never found again. Write entries are checked against the page's marks when they are used, since code may
/// have been taken from the page meanwhile.
/// </remarks>
public sealed unsafe class SpaceTlb(ulong* entries)
{
    public const int Entries = 1 << 14;
    public const int IndexMask = Entries - 1;

    /// <summary>Key and addend.</summary>
    private const int Words = 2;

    /// <summary>Size of both tables.</summary>
    public const int Bytes = 2 * Entries * Words * sizeof(ulong);

    /// <summary>Privilege contexts, with 64-bit and with 32-bit addresses.</summary>
    public const int Kinds = SoftTlb.Contexts * 2;

    private const uint Numbers = 4096;
    private readonly Dictionary<(int Kind, ulong Tag), uint> _numbers = [];
    private readonly (ulong Tag, uint Number)[] _last = new (ulong, uint)[Kinds];
    private uint _next = 1;

    public ulong* Reads => entries;
    public ulong* Writes => entries + Entries * Words;

    /// <summary>Added to a page's number it gives the entry's index, so that spaces with the same layout do not share entries.</summary>
    public static uint OffsetOf(uint number) => number * 0x9E5;

    /// <summary>The number of a space, 1 to 4,095.</summary>
    public uint NumberOf(int kind, ulong tag)
    {
        // Rings change far more often than address spaces.
        if (_last[kind] is (ulong last, > 0 and uint known) && last == tag)
            return known;
        if (!_numbers.TryGetValue((kind, tag), out uint number))
        {
            if (_next == Numbers)
            {
                NativeMemory.Clear(entries, Bytes);
                Forget();
                _next = 1;
            }
            _numbers[(kind, tag)] = number = _next++;
        }
        _last[kind] = (tag, number);
        return number;
    }

    /// <param name="addend">Host address minus linear address.</param>
    public void Fill(uint number, bool write, ulong page, ulong addend)
    {
        ulong* entry = EntryOf(number, write, page);
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
            Drop(EntryOf(number, write: false, page), page | number);
            Drop(EntryOf(number, write: true, page), page | number);
        }
    }

    /// <summary>All spaces get new numbers.</summary>
    public void Forget()
    {
        _numbers.Clear();
        Array.Clear(_last);
    }

    private ulong* EntryOf(uint number, bool write, ulong page) =>
        (write ? Writes : Reads) + ((uint)(page >> 12) + OffsetOf(number) & IndexMask) * Words;

    private static void Drop(ulong* entry, ulong key)
    {
        if (*entry == key)
            *entry = 0;
    }
}
