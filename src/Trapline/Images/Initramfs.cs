namespace Trapline.Images;

/// <summary>The default guest's file system: busybox, our init, and the folders that they expect.</summary>
public static class Initramfs
{
    private static readonly string[] Directories =
    [
        "bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var", "var/log",
    ];

    /// <param name="modules">The kernel modules that the machine needs.</param>
    public static ReadOnlyMemory<byte> Build(GuestImages images, IReadOnlyCollection<string> modules)
    {
        byte[] init = ReadInit();
        List<(string Name, byte[] Content)> wanted = [];
        foreach ((string name, byte[] content) in images.Modules)
            if (modules.Contains(name))
                wanted.Add((name, content));
        // Room for all of it: a buffer that grows would touch several times the memory.
        using MemoryStream archive = new(init.Length + images.Busybox.Length + wanted.Sum(m => m.Content.Length) + (64 << 10));
        CpioWriter cpio = new(archive);
        foreach (string directory in Directories)
            cpio.AddDirectory(directory, directory == "root" ? 0x1C0u : 0x1EDu);
        cpio.AddCharacterDevice("dev/console", 5, 1, 0x180);
        cpio.AddFile("init", init, 0x1ED);
        cpio.AddFile("bin/busybox", images.Busybox, 0x1ED);
        foreach ((string name, byte[] content) in wanted)
            cpio.AddFile("lib/modules/" + name, content);
        cpio.AddFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"u8);
        cpio.AddFile("etc/group", "root:x:0:\n"u8);
        cpio.AddFile("etc/hosts", "127.0.0.1 localhost trapline\n"u8);
        cpio.Finish();
        return archive.GetBuffer().AsMemory(0, (int)archive.Length);
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
