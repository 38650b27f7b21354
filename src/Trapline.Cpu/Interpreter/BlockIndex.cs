using System.Runtime.InteropServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>
/// Finds blocks by address and mode. Each entry holds a block's whole hash beside its place, so that what a search passes by is told from what it looks
/// for without touching the blocks; and it begins small, for machines that live shortly.
/// </summary>
/// <remarks>Open addressing with linear probing. Entries are moved back on removal, which the hashes kept in them suffice for.</remarks>
internal sealed unsafe class BlockIndex(byte* arena) : IDisposable
{
    private const uint FewestSlots = 1 << 12;

    /// <summary>Blocks lie at multiples of it in the arena.</summary>
    public const int Alignment = 64;

    /// <summary>Upper half: hash. Lower half: place in the arena in units of <see cref="Alignment"/>, plus 1; 0 if empty.</summary>
    private ulong* _slots = Allocate(FewestSlots);
    private uint _mask = FewestSlots - 1;
    private uint _count;

    /// <summary>Where a search stands.</summary>
    public struct Search
    {
        internal uint Hash;
        internal uint Slot;
    }

    /// <summary>RIP counts: every process has a shared library somewhere else.</summary>
    public static uint HashOf(ulong offset, ulong rip, uint mode) => (uint)((offset ^ rip << 13 ^ mode) * 0x9E37_79B9_7F4A_7C15ul >> 32);

    public Search Start(uint hash) => new() { Hash = hash, Slot = hash & _mask };

    /// <summary>The next block of the searched hash. False: there is none.</summary>
    public bool Next(ref Search search, out Block* block)
    {
        for (; ; )
        {
            ulong entry = _slots[search.Slot];
            block = BlockOf(entry);
            if (entry == 0)
                return false;
            search.Slot = search.Slot + 1 & _mask;
            if ((uint)(entry >> 32) == search.Hash)
                return true;
        }
    }

    public void Add(Block* block)
    {
        if (++_count > _mask / 2)
            Grow();
        Place((ulong)HashOf(block) << 32 | (uint)(((byte*)block - arena) / Alignment + 1));
    }

    public void Remove(Block* block)
    {
        uint slot = HashOf(block) & _mask;
        while (BlockOf(_slots[slot]) != block)
        {
            if (_slots[slot] == 0)
                return;
            slot = slot + 1 & _mask;
        }
        _count--;
        // Whatever a probe would reach only over the gap moves into it.
        for (uint next = slot + 1 & _mask; _slots[next] != 0; next = next + 1 & _mask)
        {
            uint home = (uint)(_slots[next] >> 32) & _mask;
            if ((next - home & _mask) >= (next - slot & _mask))
            {
                _slots[slot] = _slots[next];
                slot = next;
            }
        }
        _slots[slot] = 0;
    }

    public void Clear()
    {
        _count = 0;
        NativeMemory.Clear(_slots, (nuint)(_mask + 1) * sizeof(ulong));
    }

    public void Dispose() => NativeMemory.Free(_slots);

    private static uint HashOf(Block* block) => HashOf(block->Offset, block->Rip, block->Mode);

    private Block* BlockOf(ulong entry) => (Block*)(arena + ((long)(uint)entry - 1) * Alignment);

    private void Place(ulong entry)
    {
        uint slot = (uint)(entry >> 32) & _mask;
        while (_slots[slot] != 0)
            slot = slot + 1 & _mask;
        _slots[slot] = entry;
    }

    private void Grow()
    {
        ulong* old = _slots;
        uint slots = _mask + 1;
        _slots = Allocate(slots * 2);
        _mask = slots * 2 - 1;
        for (uint slot = 0; slot < slots; slot++)
            if (old[slot] != 0)
                Place(old[slot]);
        NativeMemory.Free(old);
    }

    private static ulong* Allocate(uint slots) => (ulong*)NativeMemory.AllocZeroed(slots, sizeof(ulong));
}
