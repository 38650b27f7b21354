using Trapline.Core;

namespace Trapline.Storage.Tests;

public class DiskSpecificationTests
{
    [Fact]
    public void AFileAloneHasTheDefaults()
    {
        Assert.Equal(new DiskSpecification { Path = "a.img" }, DiskSpecification.Parse("--disk", "a.img"));
    }

    [Fact]
    public void EverythingCanBeGiven()
    {
        DiskSpecification expected = new()
        {
            Path = "a,b.img", Format = ImageFormat.Qcow2, ReadOnly = true, Cache = CacheMode.None, Unmap = true, Serial = "x-1",
        };
        Assert.Equal(expected, DiskSpecification.Parse("--disk", "a,,b.img,format=qcow2,ro,cache=none,discard=unmap,serial=x-1"));
    }

    [Theory]
    [InlineData("")]
    [InlineData(",ro")]
    [InlineData("a,")]
    [InlineData("a,format")]
    [InlineData("a,format=vmdk")]
    [InlineData("a,ro=yes")]
    [InlineData("a,cache=fast")]
    [InlineData("a,ro,ro")]
    [InlineData("a,discard=on")]
    [InlineData("a,serial=")]
    [InlineData("a,serial=123456789012345678901")]
    [InlineData("a,size=1G")]
    public void NonsenseIsRefusedInOneLine(string text)
    {
        BadInputException complaint = Assert.Throws<BadInputException>(() => DiskSpecification.Parse("--disk", text));
        Assert.StartsWith($"--disk '{text}'", complaint.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', complaint.Message);
    }
}
