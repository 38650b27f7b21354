using Trapline.Core;

namespace Trapline.Network.Tests;

public class NetworkSpecificationTests
{
    [Theory]
    [InlineData("user")]
    [InlineData("none")]
    [InlineData("tap=tap0")]
    [InlineData("socket=lan")]
    [InlineData("socket=lan,ip=192.168.7.1/24")]
    [InlineData("user,allow=example.org:443+[2001:db8::/32]:*")]
    [InlineData("user,allow=none")]
    public void TextComesBack(string text) => Assert.Equal(text, NetworkSpecification.Parse("--net", text).ToString());

    [Fact]
    public void TheCardsAddressIsReadAndIsNoPartOfACopy()
    {
        NetworkSpecification specification = NetworkSpecification.Parse("--net", "user,mac=52:54:00:12:34:56");
        Assert.Equal("52:54:00:12:34:56", specification.Address.ToString());
        Assert.Equal("user", specification.ToString());
    }

    [Theory]
    [InlineData("bridge")]
    [InlineData("user=x")]
    [InlineData("tap")]
    [InlineData("tap=")]
    [InlineData("tap=a/b")]
    [InlineData("tap=a-name-that-is-too-long")]
    [InlineData("socket=")]
    [InlineData("socket=../lan")]
    [InlineData("user,mac=nonsense")]
    [InlineData("user,mac=01:00:5e:00:00:01")]
    [InlineData("user,ip=10.0.0.1/8")]
    [InlineData("socket=lan,ip=10.0.0.1")]
    [InlineData("socket=lan,ip=10.0.0.1/33")]
    [InlineData("tap=tap0,allow=none")]
    [InlineData("user,speed=1")]
    [InlineData("")]
    public void NonsenseIsRefusedInOneLine(string text)
    {
        BadInputException complaint = Assert.Throws<BadInputException>(() => NetworkSpecification.Parse("--net", text));
        Assert.StartsWith("--net '", complaint.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', complaint.Message);
    }
}
