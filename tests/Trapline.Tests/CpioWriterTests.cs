using System.Diagnostics;
using System.Text;
using Trapline.Images;
using Trapline.Testing;

namespace Trapline.Tests;

public class CpioWriterTests
{
    [Fact]
    public void SameEntriesMakeSameBytes() => Assert.Equal(Sample(), Sample());

    [Fact]
    public void ArchiveIsPaddedAndEndsWithTheTrailer()
    {
        byte[] archive = Sample();
        Assert.Equal(0, archive.Length % 512);
        Assert.StartsWith("070701", Encoding.ASCII.GetString(archive));
        Assert.Contains("TRAILER!!!", Encoding.ASCII.GetString(archive));
    }

    [FactNeeding("cpio")]
    public void TheCpioProgramReadsTheSame()
    {
        using TemporaryDirectory directory = new();
        File.WriteAllBytes(directory.File("a.cpio"), Sample());
        string listing = Run("cpio -itv --quiet < a.cpio", directory.Path);
        Assert.Matches(@"drwxr-xr-x\s+2 root\s+root\s+0 .* bin\n", listing);
        Assert.Matches(@"-rwxr-xr-x\s+1 root\s+root\s+5 .* bin/tool\n", listing);
        Assert.Matches(@"-rw-r--r--\s+1 root\s+root\s+0 .* empty\n", listing);
        Assert.Matches(@"lrwxrwxrwx\s+1 root\s+root\s+8 .* link -> bin/tool\n", listing);
        Assert.Matches(@"crw-------\s+1 root\s+root\s+5,\s+1 .* dev/console\n", listing);
        Run("cpio -id --quiet bin/tool ünï < a.cpio", directory.Path);
        Assert.Equal("tool\n", File.ReadAllText(directory.File("bin/tool")));
        Assert.Equal(300, new FileInfo(directory.File("ünï")).Length);
    }

    private static byte[] Sample()
    {
        using MemoryStream archive = new();
        CpioWriter cpio = new(archive);
        cpio.AddDirectory("bin");
        cpio.AddDirectory("dev");
        cpio.AddFile("bin/tool", "tool\n"u8, 0x1ED);
        cpio.AddFile("empty", []);
        cpio.AddFile("ünï", new byte[300]);
        cpio.AddLink("link", "bin/tool");
        cpio.AddCharacterDevice("dev/console", 5, 1, 0x180);
        cpio.Finish();
        return archive.ToArray();
    }

    private static string Run(string command, string directory)
    {
        using Process shell = Process.Start(new ProcessStartInfo("sh", ["-c", command]) { WorkingDirectory = directory, RedirectStandardOutput = true })!;
        string output = shell.StandardOutput.ReadToEnd();
        shell.WaitForExit();
        return output;
    }
}
