using System.Runtime.InteropServices;
using Trapline.Host;

namespace Trapline.Cpu;

/// <summary>
/// Finds numbers by hash. Each entry holds the whole hash beside the number, so that what a search passes by is told from what it looks for without
/// touching what the numbers stand for; and it begins small, for machines that live shortly.
/// </summary>
/// <remarks>Open addressing with linear probing. Entries are moved back on removal, which the hashes kept in them suffice for.</remarks>
internal sealed unsafe class HashIndex : IDisposable
{
    private const uint FewestSlots = 1 << 12;

    /// <summary>Upper half: hash. Lower half: number; 0 if empty.</summary>
    private HostMapping _memory = Allocate(FewestSlots);
    private uint _mask = FewestSlots - 1;
    private uint _count;

    /// <summary>Where a search stands.</summary>
    public struct Search
    {
        internal uint Hash;
        internal uint Slot;
    }

    private ulong* Slots => (ulong*)_memory.Base;

    public Search Start(uint hash) => new() { Hash = hash, Slot = hash & _mask };

    /// <summary>The next number of the searched hash; 0 if there is none.</summary>
    public uint Next(ref Search search)
    {
        for (ulong* slots = Slots; ;)
        {
            ulong entry = slots[search.Slot];
            if (entry == 0)
                return 0;
            search.Slot = search.Slot + 1 & _mask;
            if ((uint)(entry >> 32) == search.Hash)
                return (uint)entry;
        }
    }

    /// <param name="number">Not 0.</param>
    public void Add(uint hash, uint number)
    {
        if (++_count > _mask / 2)
            Grow();
        Place((ulong)hash << 32 | number);
    }

    public void Remove(uint hash, uint number)
    {
        ulong* slots = Slots;
        uint slot = hash & _mask;
        while ((uint)slots[slot] != number)
        {
            if (slots[slot] == 0)
                return;
            slot = slot + 1 & _mask;
        }
        _count--;
        // Whatever a probe would reach only over the gap moves into it.
        for (uint next = slot + 1 & _mask; slots[next] != 0; next = next + 1 & _mask)
        {
            uint home = (uint)(slots[next] >> 32) & _mask;
            if ((next - home & _mask) >= (next - slot & _mask))
            {
                slots[slot] = slots[next];
                slot = next;
            }
        }
        slots[slot] = 0;
    }

    public void Clear()
    {
        _count = 0;
        NativeMemory.Clear(Slots, (nuint)_memory.Length);
    }

    public void Dispose() => _memory.Dispose();

    private void Place(ulong entry)
    {
        ulong* slots = Slots;
        uint slot = (uint)(entry >> 32) & _mask;
        while (slots[slot] != 0)
            slot = slot + 1 & _mask;
        slots[slot] = entry;
    }

    private void Grow()
    {
        using HostMapping old = _memory;
        uint slots = _mask + 1;
        _memory = Allocate(slots * 2);
        _mask = slots * 2 - 1;
        for (uint slot = 0; slot < slots; slot++)
            if (((ulong*)old.Base)[slot] is var entry and not 0)
                Place(entry);
    }

    private static HostMapping Allocate(uint slots)
    {
        HostMapping memory = HostMapping.CreatePrivate(slots * sizeof(ulong));
        if (memory.Length >= HostPages.HugePage)
            memory.PreferHugePages();
        return memory;
    }
}
