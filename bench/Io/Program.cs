using System.Globalization;
using Trapline.Bench;
using Trapline.Images;

// A guest's disks under Trapline and QEMU's TCG, in turns: the same kernel, initramfs and image files, a raw and a qcow2 one, with each program's own defaults.
if (args.Contains("--help"))
{
    Console.WriteLine("""
        ./dev bench io [--rounds N] [--seconds S] [--engine NAME] [--megabytes M] [--disks raw,qcow2] [--no-qemu]
          sequential speed and random 4 KiB requests at depth 1 and 16, seen by a guest, under Trapline and QEMU TCG
        """);
    return 0;
}
int rounds = int.Parse(Option("--rounds", "3"), CultureInfo.InvariantCulture), megabytes = int.Parse(Option("--megabytes", "256"), CultureInfo.InvariantCulture);
string engine = Option("--engine", "translator"), seconds = Option("--seconds", "1"), kinds = Option("--disks", "raw,qcow2");
string repository = FindRepository(), trapline = Path.Combine(repository, "trapline");
GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
string scratch = Directory.CreateTempSubdirectory("trapline-bench-").FullName;
try
{
    string initramfs = Path.Combine(scratch, "initramfs"), raw = Path.Combine(scratch, "disk.raw"), qcow2 = Path.Combine(scratch, "disk.qcow2");
    WriteInitramfs(initramfs);
    WriteDisk(raw);
    await DoAsync(trapline, "image", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2);
    (string File, string Format)[] disks = [.. kinds.Split(',').Select(k => (k == "raw" ? raw : qcow2, k))];
    string words = $"console=ttyS0,115200 quiet panic=-1 random.trust_cpu=on io.seconds={seconds} io.disks={string.Join(',', disks.Select((_, i) => $"vd{(char)('a' + i)}"))}";
    List<Contender> contenders =
    [
        new("trapline",
        [
            trapline, "run", "--kernel", images.KernelPath, "--initrd", initramfs, "--append", words, "--memory", "512M", "--serial", "stdio", "--no-reboot",
            "--engine", engine, .. disks.SelectMany(d => new[] { "--disk", $"{d.File},format={d.Format}" }),
        ]),
    ];
    if (!args.Contains("--no-qemu"))
    {
        contenders.Add(new("qemu",
        [
            "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512M", "-nographic", "-no-reboot", "-nic", "none", "-kernel", images.KernelPath, "-initrd", initramfs,
            "-append", words, .. disks.SelectMany(d => new[] { "-drive", $"file={d.File},format={d.Format},if=virtio" }),
        ]));
    }
    Dictionary<(string Contender, string Workload), List<double>> results = [];
    for (int round = 0; round < rounds; round++)
    {
        foreach (Contender contender in contenders)
        {
            await contender.RunAsync((workload, value) =>
            {
                if (!results.TryGetValue((contender.Name, workload), out List<double>? values))
                    results[(contender.Name, workload)] = values = [];
                values.Add(value);
            });
            Console.Error.WriteLine($"bench: round {round + 1}/{rounds} {contender.Name}");
        }
    }
    Console.WriteLine($"{rounds} rounds of {seconds} s, {megabytes} MiB disks, engine {engine}; medians, half the range beside them; MB/s, or requests a second\n");
    Console.WriteLine("| disk, workload | trapline | | qemu | | ratio |\n|---|--:|--:|--:|--:|--:|");
    foreach (string workload in results.Keys.Select(k => k.Workload).Distinct())
    {
        (double value, double spread) = Middle(results[("trapline", workload)]);
        (double peer, double peerSpread) = results.TryGetValue(("qemu", workload), out List<double>? of) ? Middle(of) : (double.NaN, 0);
        string name = $"{disks[workload[2] - 'a'].Format} {workload[4..]}";
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {value:N0} | {spread:0%} | {peer:N0} | {peerSpread:0%} | {value / peer:F2} |"));
    }
    return 0;
}
finally
{
    Directory.Delete(scratch, recursive: true);
}

void WriteInitramfs(string path)
{
    using FileStream stream = new(path, FileMode.Create);
    CpioWriter cpio = new(stream);
    foreach (string directory in new[] { "dev", "proc", "lib", "lib/modules" })
        cpio.AddDirectory(directory);
    cpio.AddCharacterDevice("dev/console", 5, 1, 0x180);
    cpio.AddFile("init", File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "io-init")), 0x1ED);
    foreach ((string name, byte[] content) in images.Modules)
        cpio.AddFile("lib/modules/" + name, content, 0x1A4);
    cpio.Finish();
}

// Bytes that no format takes for a hole, and no file system for its own.
void WriteDisk(string path)
{
    using FileStream file = new(path, FileMode.Create);
    byte[] lump = new byte[1 << 20];
    new Random(1).NextBytes(lump);
    for (int i = 0; i < megabytes; i++)
        file.Write(lump);
}

string Option(string name, string otherwise)
{
    int at = Array.IndexOf(args, name);
    return at >= 0 && at + 1 < args.Length ? args[at + 1] : otherwise;
}

static (double Median, double Spread) Middle(List<double> values)
{
    double[] sorted = [.. values.Order()];
    double median = (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    return (median, (sorted[^1] - sorted[0]) / 2 / median);
}

static async Task DoAsync(string program, params string[] arguments)
{
    HostCommandResult result = await HostCommand.RunAsync(program, arguments, null, CancellationToken.None);
    if (result.ExitCode != 0)
        throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: {result.Complaint}");
}

static string FindRepository()
{
    string? folder = AppContext.BaseDirectory;
    while (folder != null && !File.Exists(Path.Combine(folder, "Trapline.slnx")))
        folder = Path.GetDirectoryName(folder);
    return folder ?? throw new InvalidOperationException("run this in the repository: ./dev bench io");
}
