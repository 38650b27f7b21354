using Trapline.Core;
using Trapline.Network.Filter;

namespace Trapline.Network.Tests.Filter;

public class AllowListTests
{
    [Theory]
    [InlineData("example.org:443")]
    [InlineData("*.example.org:443")]
    [InlineData("192.0.2.7:80")]
    [InlineData("192.0.2.0/24:*")]
    [InlineData("[2001:db8::1]:80")]
    [InlineData("[2001:db8::/32]:80")]
    [InlineData("gateway:8080")]
    [InlineData("*:53")]
    public void Rules(string text) => Assert.Equal([text], AllowList.Parse("--allow-net", [text]).Rules);

    [Theory]
    [InlineData("example.org")]
    [InlineData("example.org:")]
    [InlineData("example.org:0")]
    [InlineData("example.org:99999")]
    [InlineData(":443")]
    [InlineData("exa mple.org:443")]
    [InlineData("a..b:443")]
    [InlineData("*.:443")]
    [InlineData("ex*mple.org:443")]
    [InlineData("192.0.2.7/33:80")]
    [InlineData("192.0.2.300:80")]
    [InlineData("192.0.2:80")]
    [InlineData("2001:db8::1:80")]
    [InlineData("[2001:db8::1]")]
    [InlineData("[example.org]:80")]
    [InlineData("")]
    public void NonsenseIsRefusedInOneLine(string text)
    {
        BadInputException complaint = Assert.Throws<BadInputException>(() => AllowList.Parse("--allow-net", [text]));
        Assert.StartsWith($"--allow-net '{text}'", complaint.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NoneStandsAlone()
    {
        Assert.Equal(["none"], AllowList.Parse("--allow-net", ["none"]).Rules);
        Assert.Throws<BadInputException>(() => AllowList.Parse("--allow-net", ["none", "example.org:443"]));
    }
}
