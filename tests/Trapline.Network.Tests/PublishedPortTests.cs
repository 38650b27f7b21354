using System.Net;
using Trapline.Core;

namespace Trapline.Network.Tests;

public class PublishedPortTests
{
    [Theory]
    [InlineData("8080:80", "127.0.0.1", 8080, 80, false)]
    [InlineData("5353:53/udp", "127.0.0.1", 5353, 53, true)]
    [InlineData("2222:22/tcp", "127.0.0.1", 2222, 22, false)]
    [InlineData("0.0.0.0:8080:80", "0.0.0.0", 8080, 80, false)]
    [InlineData("[::1]:8080:80", "::1", 8080, 80, false)]
    [InlineData("::1:8080:80", "::1", 8080, 80, false)]
    public void Text(string text, string host, int hostPort, int guestPort, bool udp) =>
        Assert.Equal(new PublishedPort(IPAddress.Parse(host), hostPort, guestPort, udp), PublishedPort.Parse("--publish", text));

    [Fact]
    public void CopiesHaveTheNextPorts()
    {
        PublishedPort first = PublishedPort.Parse("--publish", "0.0.0.0:8080:53/udp");
        Assert.Equal("0.0.0.0:8083:53/udp", first.ForCopy(3).ToString());
        Assert.Equal(first, PublishedPort.Parse("--publish", first.ForCopy(0).ToString()));
        Assert.Throws<BadInputException>(() => first.ForCopy(60_000));
    }

    [Theory]
    [InlineData("8080")]
    [InlineData(":80")]
    [InlineData("8080:")]
    [InlineData("0:80")]
    [InlineData("8080:65536")]
    [InlineData("8080:80/sctp")]
    [InlineData("localhost:8080:80")]
    [InlineData("-1:80")]
    [InlineData("")]
    public void NonsenseIsRefusedInOneLine(string text)
    {
        BadInputException complaint = Assert.Throws<BadInputException>(() => PublishedPort.Parse("--publish", text));
        Assert.StartsWith($"--publish '{text}'", complaint.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', complaint.Message);
        Assert.Contains("8080:80", complaint.Message, StringComparison.Ordinal);
    }
}
