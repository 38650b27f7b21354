using System.Runtime.InteropServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>
/// For a place in memory and a mode, the block that was last decoded there, at whatever address it ran. The same library lies elsewhere in every process;
/// its blocks need not be decoded again for that.
/// </summary>
/// <remarks>A table that forgets: what shares an entry displaces what was there.</remarks>
internal sealed unsafe class BlockTwins : IDisposable
{
    private const int IndexBits = 15, Slots = 1 << IndexBits;
    private readonly Block** _slots = (Block**)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(Block*));

    /// <summary>A block of these bytes in this mode, at another address perhaps; null if none is known.</summary>
    public Block* Find(ulong offset, uint mode)
    {
        Block* block = *SlotOf(offset, mode);
        // The bytes of a block that was dropped are not these any more.
        return block != null && block->Offset == offset && block->Mode == mode && block->Bytes != 0 ? block : null;
    }

    public void Add(Block* block)
    {
        if (CanMove(block))
            *SlotOf(block->Offset, block->Mode) = block;
    }

    public void Clear() => NativeMemory.Clear(_slots, Slots * (nuint)sizeof(Block*));

    public void Dispose() => NativeMemory.Free(_slots);

    /// <summary>Copies a block's ops to where it is decoded for another address.</summary>
    /// <param name="to">Its <see cref="Block.Rip"/> is set.</param>
    public static void Copy(Block* from, Block* to)
    {
        ulong by = to->Rip - from->Rip;
        to->Count = from->Count;
        to->Bytes = from->Bytes;
        Op* ops = Block.Ops(to);
        int count = from->Count + 1;
        new ReadOnlySpan<Op>(Block.Ops(from), count).CopyTo(new Span<Op>(ops, count));
        for (int i = 0; i < count; i++)
            Move(ops + i, by);
    }

    private static void Move(Op* op, ulong by)
    {
        op->NextRip += by;
        if ((op->Flags & OpFlags.Relative) == 0)
            return;
        if ((op->Flags & OpFlags.Memory) == 0)
            op->Imm += by;
        else if (op->AddressSize == 4)
            op->Disp = (uint)(op->Disp + by);
        else
            op->Disp += by;
    }

    /// <summary>
    /// Only 64-bit code addresses relative to RIP throughout; and what lies in two pages depends on both. Kernels, and programs that are not
    /// position-independent, lie elsewhere in no process: they would only displace what does.
    /// </summary>
    private static bool CanMove(Block* block) => BlockMode.IsMovable(block->Mode, block->Rip) && block->SecondOffset == Block.NoPage;

    private Block** SlotOf(ulong offset, uint mode) => _slots + ((offset ^ mode << 20) * 0x9E37_79B9_7F4A_7C15ul >> 64 - IndexBits);
}
