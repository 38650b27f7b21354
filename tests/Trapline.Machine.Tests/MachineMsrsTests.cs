namespace Trapline.Machine.Tests;

public class MachineMsrsTests
{
    private readonly MachineMsrs _msrs = new(40, monitor: true);

    [Theory]
    [InlineData(0x200u, 0x1_0000_0006ul, true)]
    [InlineData(0x200u, 0x2ul, false)]              // reserved type
    [InlineData(0x200u, 0x100_0000_0000ul, false)]  // beyond MAXPHYADDR
    [InlineData(0x201u, 0xFF_F000_0800ul, true)]
    [InlineData(0x201u, 0x1ul, false)]
    [InlineData(0x20Fu, 0x800ul, true)]
    [InlineData(0x210u, 0ul, false)]                // no ninth range
    [InlineData(0x250u, 0x0606060606060606ul, true)]
    [InlineData(0x26Fu, 0x0706060606060606ul, false)]
    [InlineData(0x277u, 0x0007040600070406ul, true)]
    [InlineData(0x277u, 0x0002040600070406ul, false)]
    [InlineData(0x2FFu, 0xC06ul, true)]
    [InlineData(0x2FFu, 0x1000ul, false)]
    [InlineData(0xFEu, 0ul, false)]                 // read-only
    [InlineData(0x8Bu, 0ul, true)]
    [InlineData(0x1A0u, ulong.MaxValue, true)]
    [InlineData(0xC0010015u, 0ul, false)]
    public void WritesFollowTheRules(uint index, ulong value, bool accepted)
    {
        Assert.Equal(accepted, _msrs.TryWrite(index, value));
        if (accepted && index is not (0x8B or 0x1A0))
        {
            Assert.True(_msrs.TryRead(index, out ulong back));
            Assert.Equal(value, back);
        }
    }

    [Fact]
    public void FirmwareLeavesTypesInOrder()
    {
        Assert.True(_msrs.TryRead(0xFE, out ulong capabilities));
        Assert.Equal(0x508ul, capabilities);
        Assert.True(_msrs.TryRead(0x201, out ulong mask));
        Assert.Equal(0xFF_C000_0800ul, mask);
        Assert.False(_msrs.TryRead(0x12345, out _));
    }
}
