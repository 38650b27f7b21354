using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu.Tests;

/// <summary>A block that was decoded for one address and moved is the one that is decoded for the other.</summary>
public sealed unsafe class BlockTwinTests
{
    [Theory]
    [InlineData(0x40_0000ul, 0x7FFF_1234_5000ul)]
    [InlineData(0x7FFF_1234_5000ul, 0x40_0000ul)]
    [InlineData(0xFFFF_FFFF_8100_0000ul, 0x5555_5555_4000ul)]
    public void Moving_is_decoding_elsewhere(ulong first, ulong second)
    {
        const int Sequences = 30_000, Length = 64;
        const uint Mode = BlockMode.Code64 | BlockMode.Flat | 2u << BlockMode.ContextShift;
        Decoder decoder = new(CpuModel.Max);
        Random random = new(20261122);
        byte* bytes = stackalloc byte[Length];
        int size = sizeof(Block) + (BlockCache.MaxOps + 2) * sizeof(Op);
        byte* blocks = stackalloc byte[3 * size];
        Block* original = (Block*)blocks, moved = (Block*)(blocks + size), other = (Block*)(blocks + 2 * size);
        int relative = 0;
        for (int n = 0; n < Sequences; n++)
        {
            random.NextBytes(new Span<byte>(bytes, Length));
            // Operands relative to RIP, address-size prefixes and near branches are what matters here.
            if ((n & 1) != 0)
                (bytes[0], bytes[1], bytes[2]) = ((byte)((n & 2) != 0 ? 0x67 : 0x48), (byte)random.Next(256), (byte)(random.Next(8) << 3 | 5));
            *original = new Block { Rip = first, Mode = Mode, SecondOffset = Block.NoPage };
            *other = new Block { Rip = second, Mode = Mode, SecondOffset = Block.NoPage };
            original->Count = decoder.DecodeRun(bytes, Length, first, Mode, 16, Block.Ops(original), out int length, out _);
            original->Bytes = length;
            other->Count = decoder.DecodeRun(bytes, Length, second, Mode, 16, Block.Ops(other), out other->Bytes, out _);
            if (original->Count == 0)
                continue;
            *moved = new Block { Rip = second, Mode = Mode, SecondOffset = Block.NoPage };
            BlockTwins.Copy(original, moved);
            Assert.Equal(other->Count, moved->Count);
            Assert.Equal(other->Bytes, moved->Bytes);
            for (int i = 0; i <= moved->Count; i++)
            {
                Op* expected = Block.Ops(other) + i, actual = Block.Ops(moved) + i;
                relative += (expected->Flags & OpFlags.Relative) != 0 ? 1 : 0;
                Assert.True(new ReadOnlySpan<byte>(expected, sizeof(Op)).SequenceEqual(new ReadOnlySpan<byte>(actual, sizeof(Op))),
                    $"{Convert.ToHexString(new ReadOnlySpan<byte>(bytes, length))} instruction {i}: {(Iced.Intel.Code)expected->Code}");
            }
        }
        Assert.InRange(relative, 5_000, int.MaxValue);
    }
}
