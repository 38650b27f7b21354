using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Trapline.Host;

namespace Trapline.Cpu.Interpreter;

/// <summary>
/// One vCPU's decoded blocks: an arena that only grows, a hash by address and mode, a jump cache by RIP, and lists by page for invalidation.
/// </summary>
/// <remarks>
/// A block whose bytes change is unlinked and all its ops are overwritten with <c>resync</c>, which sets RIP and ends the block: the block that
/// stores into itself needs no test in the hot loop. The arena is emptied as a whole when full; that happens only between blocks.
/// </remarks>
public sealed unsafe class BlockCache : IDisposable
{
    private const int JumpSize = 1 << 14;
    public const int MaxOps = 64;

    /// <summary>Blocks lie at multiples of it in the arena.</summary>
    private const int Alignment = 64;

    /// <summary>What a vCPU that runs little decodes, such as that of a copy: not worth a huge page.</summary>
    private const nuint Small = (nuint)HostPages.HugePage;

    private readonly HostMapping _mapping;
    private readonly byte* _arena;
    private readonly nuint _arenaSize;
    /// <summary>A block's number is its place in the arena in units of <see cref="Alignment"/>, plus 1.</summary>
    private readonly HashIndex _index = new();
    private readonly BlockTwins _twins = new();
    private readonly JumpEntry* _jumps;
    private readonly Dictionary<ulong, List<nint>> _pages = [];
    private nuint _used;
    private bool _isLarge;

    private struct JumpEntry
    {
        public ulong Rip;
        public ulong Epoch;
        public Block* Target;
        public uint Mode;
    }

    public BlockCache(nuint arenaSize = 24 << 20)
    {
        _arenaSize = arenaSize;
        nuint jumps = JumpSize * (nuint)sizeof(JumpEntry);
        _mapping = HostMapping.CreatePrivate(jumps + arenaSize);
        if (arenaSize > Small)
            _mapping.PreferHugePages(Small);
        _jumps = (JumpEntry*)_mapping.Base;
        _arena = _mapping.Base + jumps;
    }

    public long Decoded { get; private set; }
    public long Invalidated { get; private set; }

    /// <summary>True when the next block might not fit: the owner must call <see cref="Clear"/> before it runs another.</summary>
    public bool IsFull => _used + (nuint)sizeof(Block) + (MaxOps + 2) * (nuint)sizeof(Op) > _arenaSize;

    /// <summary>
    /// Half the table away lies the entry of a single instruction: where translated code leaves for one instruction after the other, each address has
    /// its block and its single instruction, in turn.
    /// </summary>
    private JumpEntry* JumpEntryOf(ulong rip, uint mode) => _jumps + ((rip ^ (rip >> 12) ^ (mode & BlockMode.Single) * (JumpSize / 2 / BlockMode.Single)) & (JumpSize - 1));

    /// <summary>A block reached before under the current translations; null if the slow lookup must decide.</summary>
    public Block* FindJump(ulong rip, uint mode, ulong epoch)
    {
        JumpEntry* entry = JumpEntryOf(rip, mode);
        return entry->Rip == rip && entry->Epoch == epoch && entry->Mode == mode ? entry->Target : null;
    }

    /// <summary>A block reached before under older translations, which is at the same place still; null if the index must say.</summary>
    private Block* FindJumpAt(ulong offset, ulong rip, uint mode)
    {
        JumpEntry* entry = JumpEntryOf(rip, mode);
        if (entry->Rip != rip || entry->Mode != mode || entry->Target == null)
            return null;
        Block* block = entry->Target;
        // One that was dropped has no bytes; one in two pages depends on the other, too.
        return block->Offset == offset && block->SecondOffset == Block.NoPage && block->Bytes != 0 ? block : null;
    }

    /// <summary>A block at this address will be looked for soon.</summary>
    public void Prefetch(ulong rip, uint mode)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(JumpEntryOf(rip, mode));
    }

    public void AddJump(ulong rip, uint mode, ulong epoch, Block* target)
    {
        JumpEntry* entry = JumpEntryOf(rip, mode);
        *entry = new JumpEntry { Rip = rip, Epoch = epoch, Mode = mode, Target = target };
    }

    public Block* Find(ulong offset, ulong secondOffset, ulong rip, uint mode)
    {
        HashIndex.Search search = _index.Start(HashOf(offset, rip, mode));
        while (_index.Next(ref search) is var number and not 0)
        {
            Block* b = BlockOf(number);
            if (b->Offset == offset && b->Rip == rip && b->Mode == mode && (b->SecondOffset == Block.NoPage || b->SecondOffset == secondOffset))
                return b;
        }
        return null;
    }

    /// <summary>Finds any block at this place, whatever its second page.</summary>
    public Block* FindFirst(ulong offset, ulong rip, uint mode)
    {
        Block* recent = FindJumpAt(offset, rip, mode);
        if (recent != null)
            return recent;
        HashIndex.Search search = _index.Start(HashOf(offset, rip, mode));
        while (_index.Next(ref search) is var number and not 0)
        {
            Block* b = BlockOf(number);
            if (b->Offset == offset && b->Rip == rip && b->Mode == mode)
                return b;
        }
        return null;
    }

    /// <summary>A block of the same bytes in the same mode, decoded for another address; null if none is known.</summary>
    public Block* FindTwin(ulong offset, uint mode) => _twins.Find(offset, mode);

    /// <summary>Room for a block of up to <see cref="MaxOps"/> ops plus its ending.</summary>
    public Block* Begin() => (Block*)(_arena + _used);

    /// <summary>Keeps the block that <see cref="Begin"/> gave, and marks its pages.</summary>
    public void Commit(Block* block, int ops)
    {
        Decoded++;
        _used += (nuint)(sizeof(Block) + ops * sizeof(Op));
        _used = (_used + Alignment - 1) & ~(nuint)(Alignment - 1);
        if (!_isLarge && _used > Small / 2 && _arenaSize > Small)
        {
            _isLarge = true;
            HostPages.MakeHuge(_mapping.Base, Small);
        }
        _index.Add(HashOf(block), NumberOf(block));
        _twins.Add(block);
        AddToPage(block->Offset & ~0xFFFul, block);
        if (block->SecondOffset != Block.NoPage)
            AddToPage(block->SecondOffset & ~0xFFFul, block);
    }

    /// <summary>Some block holds bytes of this page.</summary>
    public bool Holds(ulong page) => _pages.ContainsKey(page);

    /// <summary>Drops the blocks that hold any byte of a written range. Returns true if there was one.</summary>
    public bool Invalidate(ulong offset, ulong length, delegate*<SoftwareVcpu, CpuState*, Op*, int> resync)
    {
        ulong page = offset & ~0xFFFul;
        if (!_pages.TryGetValue(page, out List<nint>? blocks))
            return false;
        bool any = false;
        for (int i = blocks.Count - 1; i >= 0; i--)
        {
            Block* b = (Block*)blocks[i];
            bool hit = (b->Offset & ~0xFFFul) == page && offset < b->Offset + (ulong)b->Bytes && b->Offset < offset + length;
            hit |= b->SecondOffset != Block.NoPage && (b->SecondOffset & ~0xFFFul) == page
                && offset < b->SecondOffset + (ulong)b->SecondBytes && b->SecondOffset < offset + length;
            if (!hit)
                continue;
            any = true;
            Drop(b, resync);
            blocks.RemoveAt(i);
        }
        if (blocks.Count == 0)
            _pages.Remove(page);
        return any;
    }

    /// <summary>Forgets every block. Pages stay marked as code until they are written, since translations may depend on them still.</summary>
    public void Clear()
    {
        _pages.Clear();
        _used = 0;
        _index.Clear();
        _twins.Clear();
        NativeMemory.Clear(_jumps, JumpSize * (nuint)sizeof(JumpEntry));
    }

    public void Dispose()
    {
        _mapping.Dispose();
        _index.Dispose();
        _twins.Dispose();
    }

    private void Drop(Block* block, delegate*<SoftwareVcpu, CpuState*, Op*, int> resync)
    {
        Invalidated++;
        _index.Remove(HashOf(block), NumberOf(block));
        // The other page of a crossing block still lists it; its empty extent keeps it from matching again.
        block->Bytes = 0;
        block->SecondBytes = 0;
        block->Native = 0;
        Op* ops = Block.Ops(block);
        for (int i = 0; i <= block->Count; i++)
            ops[i].Run = resync;
    }

    /// <summary>RIP counts: every process has a shared library somewhere else.</summary>
    private static uint HashOf(ulong offset, ulong rip, uint mode) => (uint)((offset ^ rip << 13 ^ mode) * 0x9E37_79B9_7F4A_7C15ul >> 32);

    private static uint HashOf(Block* block) => HashOf(block->Offset, block->Rip, block->Mode);

    private uint NumberOf(Block* block) => (uint)(((byte*)block - _arena) / Alignment) + 1;

    private Block* BlockOf(uint number) => (Block*)(_arena + ((long)number - 1) * Alignment);

    private void AddToPage(ulong page, Block* block)
    {
        if (!_pages.TryGetValue(page, out List<nint>? blocks))
            _pages[page] = blocks = [];
        blocks.Add((nint)block);
    }
}
