using Trapline.Core;

namespace Trapline.Bench;

/// <summary>The three that are compared. Both machines get the same kernel, initramfs, memory and number of CPUs.</summary>
internal static class Contenders
{
    public const string Trapline = "trapline";
    public const string Qemu = "qemu";
    public const string Native = "native";

    /// <summary>Native runs in each round.</summary>
    public const int NativeRuns = 3;

    private const string CommandLine = "console=ttyS0,115200 quiet panic=-1 random.trust_cpu=on";
    private const string Memory = "1G";
    private const string QemuProgram = "qemu-system-x86_64";

    public static Contender MakeTrapline(string repository, string kernel, string? engine, int cpus) => new(Trapline, image =>
    [
        Path.Combine(repository, "trapline"), "run", "--kernel", kernel, "--initrd", image, "--append", CommandLine, "--memory", Memory,
        "--serial", "stdio", "--no-reboot", "--cpus", $"{cpus}", .. engine == null ? Array.Empty<string>() : ["--engine", engine],
    ]);

    /// <exception cref="BadInputException">QEMU is not installed.</exception>
    public static Contender MakeQemu(string kernel, int cpus)
    {
        bool installed = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(p => File.Exists(Path.Combine(p, QemuProgram)));
        if (!installed)
            throw new BadInputException($"'{QemuProgram}' is not installed: install qemu-system-x86 (Debian: apt-get install qemu-system-x86), or give --no-qemu");
        return new Contender(Qemu, image =>
        [
            QemuProgram, "-accel", "tcg", "-cpu", "max", "-m", Memory, "-smp", $"{cpus}", "-nographic", "-no-reboot",
            "-kernel", kernel, "-initrd", image, "-append", CommandLine,
        ]);
    }

    /// <summary>The host itself, in the same file system: a user namespace lets an ordinary user change the root.</summary>
    public static Contender MakeNative() => new(Native, folder =>
        ["unshare", "--map-root-user", "--root", folder, "/bin/busybox", "sh", "-c", $"/bin/sh /run.sh; echo {BenchImage.End}"]);
}
