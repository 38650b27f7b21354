using System.Text.Json;
using Trapline.Cli;
using Trapline.Images;
using Trapline.Testing;

namespace Trapline.Tests;

public sealed class ImageCommandTests : IDisposable
{
    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void AnImagesLife()
    {
        string raw = _folder.File("a.img"), image = _folder.File("a.qcow2"), work = _folder.File("work.qcow2"), back = _folder.File("back.img");
        byte[] content = new byte[3 << 20];
        new Random(3).NextBytes(content.AsSpan(1 << 20, 1 << 20));
        File.WriteAllBytes(raw, content);
        Ok("convert", "-c", raw, image);
        Ok("create", "-b", "a.qcow2", work);
        JsonElement info = JsonDocument.Parse(Ok("info", "--json", work)).RootElement;
        Assert.Equal((3 << 20, "a.qcow2"), (info.GetProperty("virtual-size").GetInt64(), info.GetProperty("backing-filename").GetString()));
        Ok("snapshot", "-c", "first", work);
        Assert.Contains("first", Ok("snapshot", "-l", work), StringComparison.Ordinal);
        Ok("rebase", "-b", "", work);
        Ok("resize", work, "+1M");
        Ok("resize", "--shrink", work, "3M");
        Ok("snapshot", "-d", "first", work);
        Assert.Contains("no errors", Ok("check", work), StringComparison.Ordinal);
        Ok("convert", work, back);
        Assert.Equal(content, File.ReadAllBytes(back));
        JsonElement map = JsonDocument.Parse(Ok("map", "--json", back)).RootElement;
        Assert.Equal([false, true, false], map.EnumerateArray().Select(e => e.GetProperty("data").GetBoolean()));
    }

    [Theory]
    [InlineData("'N.qcow2' needs a size", "create", "N.qcow2")]
    [InlineData("'N.img' cannot be opened", "info", "N.img")]
    [InlineData("-f 'vmdk' is not known", "info", "-f", "vmdk", "N.img")]
    [InlineData("the size 'big' is not a size", "create", "N.img", "big")]
    [InlineData("-o 'colour=red' cannot be used", "create", "-o", "colour=red", "N.img", "1M")]
    [InlineData("snapshot does one thing", "snapshot", "N.qcow2")]
    [InlineData("rebase needs -b", "rebase", "N.qcow2")]
    [InlineData("-c makes compressed qcow2", "convert", "-c", "N.img", "M.img")]
    [InlineData("the image 'slackware' is not known", "pull", "slackware")]
    public void NonsenseIsRefusedInOneLine(string complaint, params string[] arguments)
    {
        StringWriter errors = new();
        Assert.Equal(2, CommandLine.Run(["image", .. arguments], TextWriter.Null, errors, _ => 1));
        Assert.StartsWith("trapline: " + complaint, errors.ToString(), StringComparison.Ordinal);
        Assert.Single(errors.ToString().TrimEnd().Split('\n'));
    }

    [Fact]
    public void DebiansOwnSourcesAreFoundTheReleaseFirst()
    {
        const string targets = """
            http://a/debian-security/|bookworm-security|main|Debian|Packages
            http://a/debian/|bookworm|main|Debian|Packages
            http://a/debian/|bookworm|main|Debian|DEP-11
            http://b/apt/|nodistro|main|. nodistro|Packages
            """;
        Assert.Equal(["deb http://a/debian/ bookworm main", "deb http://a/debian-security/ bookworm-security main"], AptSource.Parse(targets).Select(s => s.Line));
    }

    private static string Ok(params string[] arguments)
    {
        StringWriter output = new(), errors = new();
        int status = CommandLine.Run(["image", .. arguments], output, errors, _ => 1);
        Assert.True(status == 0, $"image {string.Join(' ', arguments)}: {status}: {errors}");
        return output.ToString();
    }
}
