namespace Trapline.Images;

/// <summary>The default guest's file system: busybox, our init, and the folders that they expect.</summary>
public static class Initramfs
{
    private static readonly string[] Directories =
    [
        "bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var", "var/log",
    ];

    /// <param name="modules">The kernel modules that the machine needs.</param>
    public static byte[] Build(GuestImages images, IReadOnlyCollection<string> modules)
    {
        using MemoryStream archive = new(4 << 20);
        CpioWriter cpio = new(archive);
        foreach (string directory in Directories)
            cpio.AddDirectory(directory, directory == "root" ? 0x1C0u : 0x1EDu);
        cpio.AddCharacterDevice("dev/console", 5, 1, 0x180);
        cpio.AddFile("init", ReadInit(), 0x1ED);
        cpio.AddFile("bin/busybox", images.Busybox, 0x1ED);
        foreach ((string name, byte[] content) in images.Modules.Where(m => modules.Contains(m.Name)))
            cpio.AddFile("lib/modules/" + name, content);
        cpio.AddFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"u8);
        cpio.AddFile("etc/group", "root:x:0:\n"u8);
        cpio.AddFile("etc/hosts", "127.0.0.1 localhost trapline\n"u8);
        cpio.Finish();
        return archive.ToArray();
    }

    private static byte[] ReadInit()
    {
        using Stream resource = typeof(Initramfs).Assembly.GetManifestResourceStream("guest-init")
            ?? throw new InvalidOperationException("the guest's init is missing from the Trapline assembly");
        byte[] init = new byte[resource.Length];
        resource.ReadExactly(init);
        return init;
    }
}
