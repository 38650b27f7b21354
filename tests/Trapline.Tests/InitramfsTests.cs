using System.Text;
using Trapline.Images;

namespace Trapline.Tests;

public class InitramfsTests
{
    [Fact]
    public void HoldsOurInitAsAStaticProgram()
    {
        GuestImages images = new("", "", [], "busybox"u8.ToArray(), [("pvpanic.ko", "module"u8.ToArray())]);
        byte[] archive = Initramfs.Build(images, ["pvpanic.ko"]).ToArray();
        string text = Encoding.Latin1.GetString(archive);
        int init = text.IndexOf("init\0", StringComparison.Ordinal);
        Assert.True(init > 0);
        Assert.InRange(text.IndexOf("\x7f" + "ELF", init, StringComparison.Ordinal) - init, 0, 16);
        Assert.Contains("bin/busybox\0", text);
        Assert.Contains("lib/modules/pvpanic.ko\0", text);
    }
}
