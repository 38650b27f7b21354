using Trapline.Core;

namespace Trapline.Memory.Tests;

public sealed unsafe class GuestMemoryTests
{
    private static GuestMemory WithHole() => new(
    [
        new MemoryRegion(new Gpa(0), 0x10000, MemoryKind.Ram, 0),
        new MemoryRegion(new Gpa(0xF0000), 0x10000, MemoryKind.Rom, 0x10000),
        new MemoryRegion(new Gpa(1ul << 32), 0x10000, MemoryKind.Ram, 0x20000),
    ]);

    [Fact]
    public void WhatIsWrittenIsRead()
    {
        using GuestMemory memory = WithHole();
        byte[] data = [1, 2, 3, 4, 5];
        Assert.True(memory.TryWrite(new Gpa((1ul << 32) + 0xFFE), data)); // across a page
        byte[] read = new byte[5];
        Assert.True(memory.TryRead(new Gpa((1ul << 32) + 0xFFE), read));
        Assert.Equal(data, read);
    }

    [Theory]
    [InlineData(0xFFFFul, 2)]
    [InlineData(0x10000ul, 1)]
    [InlineData(0xFFFF_FFFF_FFFF_FFFFul, 8)]
    [InlineData(0x8000_0000_0000_0000ul, 16)]
    public void NothingOutsideTheRegionsIsTouched(ulong address, int length)
    {
        using GuestMemory memory = WithHole();
        Assert.False(memory.TryWrite(new Gpa(address), new byte[length]));
        Assert.False(memory.TryRead(new Gpa(address), new byte[length]));
    }

    [Fact]
    public void RomIsLoadedButNotWritten()
    {
        using GuestMemory memory = WithHole();
        Assert.True(memory.TryLoad(new Gpa(0xF0000), [0xEA]));
        Assert.False(memory.TryWrite(new Gpa(0xF0000), [0]));
        byte[] read = new byte[1];
        Assert.True(memory.TryRead(new Gpa(0xF0000), read));
        Assert.Equal(0xEA, read[0]);
    }

    [Fact]
    public void TheDirtyLogHoldsWrittenPagesOnce()
    {
        using GuestMemory memory = WithHole();
        memory.TryWrite(new Gpa(0x3FFF), [1, 2]);
        List<ulong> dirty = [];
        memory.CollectDirty(dirty.Add);
        Assert.Equal([0x3000ul, 0x4000ul], dirty);
        dirty.Clear();
        memory.CollectDirty(dirty.Add);
        Assert.Empty(dirty);
    }

    [Fact]
    public void WritesToCodePagesAreAnnounced()
    {
        using GuestMemory memory = WithHole();
        Watcher watcher = new();
        memory.AddObserver(watcher);
        memory.TryWrite(new Gpa(0x5000), [1]);
        Assert.Empty(watcher.Written);
        memory.SetMark(0x5000, PageMarks.Code);
        memory.TryWrite(new Gpa(0x5010), [1, 2, 3]);
        Assert.Equal([(0x5010ul, 3ul)], watcher.Written);
        memory.ClearMark(0x5000, PageMarks.Code);
        memory.TryWrite(new Gpa(0x5010), [1]);
        Assert.Single(watcher.Written);
    }

    [Fact]
    public void MarksOfNeighbouringPagesDoNotDisturbEachOther()
    {
        using GuestMemory memory = WithHole();
        Parallel.For(0, 16, page =>
        {
            for (int i = 0; i < 10_001; i++)
                if (i % 2 == 0)
                    memory.SetMark((ulong)page << 12, PageMarks.Code);
                else
                    memory.ClearMark((ulong)page << 12, PageMarks.Code);
        });
        for (int page = 0; page < 16; page++)
            Assert.Equal((byte)PageMarks.Code, memory.Marks[page]);
    }

    [Fact]
    public void RegionsMustBeAlignedAndApart()
    {
        Assert.Throws<ArgumentException>(() => new GuestMemory([new MemoryRegion(new Gpa(0x800), 0x1000, MemoryKind.Ram, 0)]));
        Assert.Throws<ArgumentException>(() => new GuestMemory(
            [new MemoryRegion(new Gpa(0), 0x2000, MemoryKind.Ram, 0), new MemoryRegion(new Gpa(0x1000), 0x1000, MemoryKind.Ram, 0x2000)]));
    }

    [Fact]
    public void SixtyFourGibibytesCostNothingUntilTouched()
    {
        using GuestMemory memory = GuestMemory.Flat(64ul << 30);
        Assert.True(memory.TryWrite(new Gpa((64ul << 30) - 8), new byte[8]));
    }

    [Fact]
    public void RemappingTellsTheEngines()
    {
        using GuestMemory memory = WithHole();
        Watcher watcher = new();
        memory.AddObserver(watcher);
        memory.Remap([new MemoryRegion(new Gpa(0), 0x8000, MemoryKind.Ram, 0)]);
        Assert.Equal(1, watcher.MapChanges);
        Assert.False(memory.TryGetPage(0x9000, out _, out _));
        Assert.Throws<ArgumentException>(() => memory.Remap([new MemoryRegion(new Gpa(0), 0x8000_0000, MemoryKind.Ram, 0)]));
    }

    private sealed class Watcher : IMemoryObserver
    {
        public List<(ulong Address, ulong Length)> Written { get; } = [];
        public int MapChanges { get; private set; }
        public void CodeWritten(Gpa address, ulong length) => Written.Add((address.Value, length));
        public void MapChanged() => MapChanges++;
    }
}
