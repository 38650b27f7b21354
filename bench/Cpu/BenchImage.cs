using System.Text;
using Trapline.Images;

namespace Trapline.Bench;

/// <summary>The guest's files: written as an initramfs for the machines and as a folder for the host.</summary>
internal static class BenchImage
{
    public const string End = "trapline-bench-end";
    public const string Begin = "trapline-bench-begin";

    private const string Init = $"""
        #!/bin/busybox sh
        /bin/busybox mount -t proc proc /proc
        /bin/busybox mount -t devtmpfs dev /dev
        /bin/busybox mount -t tmpfs tmp /tmp
        echo {Begin}
        [ -f /run.sh ] && /bin/sh /run.sh
        echo {End}
        exec /bin/busybox poweroff -f

        """;

    /// <summary>The lines of all workloads. A program that fails says so on the console and the next one runs.</summary>
    public static string Script(IEnumerable<Workload> workloads, double scale) =>
        "export HOME=/ LC_ALL=C PATH=/bin:/usr/bin OPENSSL_CONF=/none\n"
        // Once, so that Python finds its library compiled, as it is on an installed system.
        + (workloads.Any(w => w.Name.StartsWith("python", StringComparison.Ordinal)) ? "python3 -I -S -c 'import re, os'\n" : "")
        + string.Concat(workloads.Select(w => w.Line(scale) + "\n"));

    /// <summary>Only what a boot to the first command needs.</summary>
    public static void WriteSmall(string file, GuestImages images) => Write(file, cpio => AddBase(cpio, images));

    public static void WriteFull(string file, GuestImages images, string root, string script, double scale) => Write(file, cpio =>
    {
        AddBase(cpio, images);
        AddTree(cpio, root, "");
        AddFile(cpio, "bin/bench", ReadBench());
        AddFile(cpio, "run.sh", Encoding.UTF8.GetBytes(script));
        cpio.AddDirectory("data");
        foreach ((string path, byte[] content) in BenchData.Files(scale))
            AddFile(cpio, path[1..], content);
    });

    /// <summary>The same files for the host: a folder that becomes the root of the native run.</summary>
    public static void WriteFolder(string folder, GuestImages images, string root, string script, double scale)
    {
        Copy(root, folder);
        Dictionary<string, byte[]> files = new()
        {
            ["bin/busybox"] = images.Busybox,
            ["bin/bench"] = ReadBench(),
            ["run.sh"] = Encoding.UTF8.GetBytes(script),
        };
        foreach ((string path, byte[] content) in BenchData.Files(scale))
            files[path[1..]] = content;
        foreach ((string path, byte[] content) in files)
        {
            string target = Path.Combine(folder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.WriteAllBytes(target, content);
            File.SetUnixFileMode(target, (UnixFileMode)0x1ED);
        }
        foreach (string directory in new[] { "tmp", "dev" })
            Directory.CreateDirectory(Path.Combine(folder, directory));
        // A plain file: an ordinary user makes no devices, and perl only wants to open it.
        File.WriteAllBytes(Path.Combine(folder, "dev/null"), []);
        File.CreateSymbolicLink(Path.Combine(folder, "bin/sh"), "busybox");
    }

    private static void Write(string file, Action<CpioWriter> fill)
    {
        using FileStream stream = new(file, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16);
        CpioWriter cpio = new(stream);
        fill(cpio);
        cpio.Finish();
    }

    private static void AddBase(CpioWriter cpio, GuestImages images)
    {
        foreach (string directory in new[] { "bin", "dev", "proc", "tmp", "usr", "usr/bin" })
            cpio.AddDirectory(directory);
        cpio.AddCharacterDevice("dev/console", 5, 1, 0x180);
        AddFile(cpio, "init", Encoding.UTF8.GetBytes(Init));
        AddFile(cpio, "bin/busybox", images.Busybox);
        cpio.AddLink("bin/sh", "busybox");
    }

    private static void AddTree(CpioWriter cpio, string root, string relative)
    {
        foreach (FileSystemInfo entry in new DirectoryInfo(Path.Combine(root, relative)).EnumerateFileSystemInfos().OrderBy(e => e.Name, StringComparer.Ordinal))
        {
            string path = relative.Length == 0 ? entry.Name : relative + "/" + entry.Name;
            if (entry.LinkTarget is { } target)
                cpio.AddLink(path, target);
            else if (entry is DirectoryInfo)
            {
                cpio.AddDirectory(path);
                AddTree(cpio, root, path);
            }
            else
                cpio.AddFile(path, File.ReadAllBytes(entry.FullName), (uint)entry.UnixFileMode);
        }
    }

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (FileSystemInfo entry in new DirectoryInfo(from).EnumerateFileSystemInfos())
        {
            string target = Path.Combine(to, entry.Name);
            if (entry.LinkTarget is { } link)
                File.CreateSymbolicLink(target, link);
            else if (entry is DirectoryInfo)
                Copy(entry.FullName, target);
            else
                File.Copy(entry.FullName, target);
        }
    }

    private static void AddFile(CpioWriter cpio, string path, byte[] content) => cpio.AddFile(path, content, 0x1ED);

    private static byte[] ReadBench()
    {
        using Stream resource = typeof(BenchImage).Assembly.GetManifestResourceStream("guest-bench")!;
        using MemoryStream copy = new();
        resource.CopyTo(copy);
        return copy.ToArray();
    }
}
