using Trapline.Core;

namespace Trapline.Memory.Tests;

public sealed unsafe class MemoryTemplateTests
{
    private const ulong Size = 4 << 20;

    private static byte At(GuestMemory memory, ulong address)
    {
        byte[] one = new byte[1];
        Assert.True(memory.TryRead(new Gpa(address), one));
        return one[0];
    }

    private static void Put(GuestMemory memory, ulong address, byte value) => Assert.True(memory.TryWrite(new Gpa(address), [value]));

    private static GuestMemory Copy(MemoryTemplate template) => new([new MemoryRegion(new Gpa(0), Size, MemoryKind.Ram, 0)], template);

    [Fact]
    public void CopiesBeginAlikeAndGoTheirOwnWays()
    {
        using GuestMemory parent = GuestMemory.Flat(Size);
        Put(parent, 0x5000, 1);
        byte* where = parent.BackingBase;
        using MemoryTemplate template = parent.Freeze();
        using GuestMemory first = Copy(template), second = Copy(template);
        Assert.True(where == parent.BackingBase);
        Put(parent, 0x5000, 2);
        Put(first, 0x5000, 3);
        Put(first, 0x100000, 4);
        Assert.Equal((2, 3, 1), (At(parent, 0x5000), At(first, 0x5000), At(second, 0x5000)));
        Assert.Equal((0, 4, 0), (At(parent, 0x100000), At(first, 0x100000), At(second, 0x100000)));
    }

    [Fact]
    public void TheFirstTemplateStoresOnlyWhatIsNotZero()
    {
        using GuestMemory parent = GuestMemory.Flat(Size);
        Put(parent, 0x5000, 0);
        Put(parent, 0x6000, 1);
        Put(parent, 0x7FFF, 2);
        Put(parent, 0x200000, 3);
        using MemoryTemplate template = parent.Freeze();
        Assert.Equal([(0x6000ul, 0x2000ul), (0x200000ul, 0x1000ul)], template.StoredRanges);
        Assert.Equal((0, 1, 2, 3), (At(parent, 0x5000), At(parent, 0x6000), At(parent, 0x7FFF), At(parent, 0x200000)));
    }

    [Theory]
    [InlineData(false)] // what was written goes back into the template
    [InlineData(true)]  // somebody uses the template still: a new one is made
    public void ALaterTemplateHoldsWhatWasWrittenSince(bool firstInUse)
    {
        using GuestMemory parent = GuestMemory.Flat(Size);
        Put(parent, 0x5000, 1);
        Put(parent, 0x7000, 9);
        MemoryTemplate first = parent.Freeze();
        GuestMemory early = Copy(first);
        if (!firstInUse)
        {
            early.Dispose();
            first.Dispose();
        }
        Put(parent, 0x5000, 2);
        Put(parent, 0x200000, 3);
        using MemoryTemplate second = parent.Freeze();
        using GuestMemory late = Copy(second);
        Assert.Equal((2, 9, 3), (At(late, 0x5000), At(late, 0x7000), At(late, 0x200000)));
        Assert.Equal((2, 9, 3), (At(parent, 0x5000), At(parent, 0x7000), At(parent, 0x200000)));
        if (firstInUse)
        {
            Assert.Equal((1, 9, 0), (At(early, 0x5000), At(early, 0x7000), At(early, 0x200000)));
            early.Dispose();
            first.Dispose();
        }
    }

    [Theory]
    [InlineData(512, true)]   // little: it lies beside the file, which both use
    [InlineData(513, false)]  // 2 MiB and more: a new file
    public void WhatIsWrittenBetweenCopiesLiesBesideTheTemplateIfItIsLittle(int pages, bool beside)
    {
        using GuestMemory parent = GuestMemory.Flat(Size);
        Put(parent, 0x1000, 1);
        using MemoryTemplate first = parent.Freeze();
        using GuestMemory early = Copy(first);
        for (int page = 0; page < pages; page++)
            Put(parent, (ulong)page * 0x1000 + 0x800, (byte)(page + 2));
        using MemoryTemplate second = parent.Freeze();
        Assert.Equal(beside, second.File == first.File);
        using GuestMemory late = Copy(second);
        for (int page = 0; page < pages; page++)
            Assert.Equal(((byte)(page + 2), 0), (At(late, (ulong)page * 0x1000 + 0x800), At(early, (ulong)page * 0x1000 + 0x800)));
        Assert.Equal((1, 1), (At(late, 0x1000), At(early, 0x1000)));
        byte[] content = new byte[0x2000];
        second.Read(0x800, content);
        Assert.Equal((2, 1, 3), (content[0], content[0x800], content[0x1000]));
        // A copy of the copy has both its own changes and those it began with.
        Put(late, 0x3000, 77);
        using MemoryTemplate third = late.Freeze();
        using GuestMemory grandchild = Copy(third);
        Assert.Equal((77, 3), (At(grandchild, 0x3000), At(grandchild, 0x1800)));
    }

    [Fact]
    public void NothingWrittenNothingCopied()
    {
        using GuestMemory parent = GuestMemory.Flat(Size);
        Put(parent, 0x5000, 1);
        using MemoryTemplate first = parent.Freeze(), second = parent.Freeze();
        Assert.Same(first.File, second.File);
        Assert.Equal([(0x5000ul, 0x1000ul)], second.StoredRanges);
    }

    [Fact]
    public void ATemplateOutlivesWhereItWasTakenFrom()
    {
        GuestMemory parent = GuestMemory.Flat(Size);
        Put(parent, 0x5000, 7);
        using MemoryTemplate template = parent.Freeze();
        parent.Dispose();
        using GuestMemory copy = Copy(template);
        Assert.Equal(7, At(copy, 0x5000));
    }

    [Fact]
    public void ATemplateOfAnotherSizeIsRefused()
    {
        using GuestMemory parent = GuestMemory.Flat(Size);
        using MemoryTemplate template = parent.Freeze();
        Assert.Throws<ArgumentException>(() => new GuestMemory([new MemoryRegion(new Gpa(0), Size * 2, MemoryKind.Ram, 0)], template));
    }
}
