using System.Diagnostics;
using System.Globalization;
using Trapline.Bench;
using Trapline.Images;
using Trapline.Network.Passt;

// A guest's network under Trapline and QEMU's TCG, in turns: the same kernel, initramfs and passt, the host's loopback address at the other end.
if (args.Contains("--help"))
{
    Console.WriteLine("""
        ./dev bench net [--rounds N] [--seconds S] [--engine NAME] [--no-qemu]
          one TCP connection between guest and host over passt, each way, and round trips of a byte, under Trapline and QEMU TCG
        """);
    return 0;
}
int rounds = int.Parse(Option("--rounds", "3"), CultureInfo.InvariantCulture);
string engine = Option("--engine", "translator"), seconds = Option("--seconds", "2");
string trapline = Path.Combine(FindRepository(), "trapline");
GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
string scratch = Directory.CreateTempSubdirectory("trapline-bench-").FullName;
using Server server = new();
try
{
    // passt, started by root, goes on as nobody, who makes the socket.
    if (!OperatingSystem.IsWindows())
        File.SetUnixFileMode(scratch, (UnixFileMode)0b111_111_111);
    string initramfs = Path.Combine(scratch, "initramfs"), socket = Path.Combine(scratch, "passt");
    WriteInitramfs(initramfs);
    string words = $"console=ttyS0,115200 quiet panic=-1 random.trust_cpu=on net.seconds={seconds} net.port={server.Port}";
    string[] contenders = args.Contains("--no-qemu") ? ["trapline"] : ["trapline", "qemu"];
    Dictionary<(string Contender, string Workload), List<double>> results = [];
    for (int round = 0; round < rounds; round++)
    {
        foreach (string contender in contenders)
        {
            using Process? passt = contender == "qemu" ? StartPasst(socket) : null;
            string[] command = contender == "qemu"
                ?
                [
                    "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512M", "-nographic", "-no-reboot", "-kernel", images.KernelPath, "-initrd", initramfs, "-append", words,
                    "-netdev", $"stream,id=net,server=off,addr.type=unix,addr.path={socket}", "-device", "virtio-net-pci,netdev=net",
                ]
                :
                [
                    trapline, "run", "--kernel", images.KernelPath, "--initrd", initramfs, "--append", words, "--memory", "512M", "--serial", "stdio", "--no-reboot",
                    "--engine", engine, "--net", "user",
                ];
            await RunAsync(contender, command, (workload, value) =>
            {
                if (!results.TryGetValue((contender, workload), out List<double>? values))
                    results[(contender, workload)] = values = [];
                values.Add(value);
            });
            passt?.WaitForExit(2_000);
            Console.Error.WriteLine($"bench: round {round + 1}/{rounds} {contender}");
        }
    }
    Console.WriteLine($"{rounds} rounds of {seconds} s, engine {engine}; medians, half the range beside them; MB/s, or round trips a second\n");
    Console.WriteLine("| workload | trapline | | qemu | | ratio |\n|---|--:|--:|--:|--:|--:|");
    foreach (string workload in results.Keys.Select(k => k.Workload).Distinct())
    {
        (double value, double spread) = Middle(results[("trapline", workload)]);
        (double peer, double peerSpread) = results.TryGetValue(("qemu", workload), out List<double>? of) ? Middle(of) : (double.NaN, 0);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {workload} | {value:N0} | {spread:0%} | {peer:N0} | {peerSpread:0%} | {value / peer:F2} |"));
    }
    return 0;
}
finally
{
    Directory.Delete(scratch, recursive: true);
}

// Runs a guest to its end; each result is heard by its name and value.
static async Task RunAsync(string name, string[] command, Action<string, double> heard)
{
    using Process process = Process.Start(new ProcessStartInfo(command[0], command.Skip(1)) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
    process.StandardInput.Close();
    using CancellationTokenSource limit = new(TimeSpan.FromMinutes(2));
    Queue<string> last = new();
    bool ended = false;
    while (await process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
    {
        string[] words = line[Math.Max(line.IndexOf("trapline-net ", StringComparison.Ordinal), 0)..].Split(' ', StringSplitOptions.TrimEntries);
        ended |= words is ["trapline-net", "end"];
        if (words is ["trapline-net", string workload, string value])
            heard(workload, double.Parse(value, CultureInfo.InvariantCulture));
        last.Enqueue(line);
        if (last.Count > 10)
            last.Dequeue();
    }
    await process.WaitForExitAsync(limit.Token);
    if (!ended)
        throw new InvalidOperationException($"{name} ended early:\n{string.Join('\n', last)}");
}

// The passt that Trapline starts for itself, for QEMU.
static Process StartPasst(string socket)
{
    File.Delete(socket);
    Process passt = Process.Start(new ProcessStartInfo("passt",
    [
        "--foreground", "--quiet", "--one-off", "--socket", socket, "--ipv4-only", "--mtu", $"{PasstOptions.Mtu}", "--mac-addr", PasstOptions.Gateway.ToString(),
        "--address", PasstOptions.Guest4, "--netmask", $"{PasstOptions.Prefix4}", "--gateway", PasstOptions.Gateway4,
    ])
    { RedirectStandardError = true })!;
    passt.BeginErrorReadLine();
    if (!SpinWait.SpinUntil(() => File.Exists(socket), 5_000))
        throw new InvalidOperationException("passt does not start: apt-get install passt");
    return passt;
}

void WriteInitramfs(string path)
{
    using FileStream stream = new(path, FileMode.Create);
    CpioWriter cpio = new(stream);
    foreach (string directory in new[] { "dev", "proc", "lib", "lib/modules" })
        cpio.AddDirectory(directory);
    cpio.AddCharacterDevice("dev/console", 5, 1, 0x180);
    cpio.AddFile("init", File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "net-init")), 0x1ED);
    foreach ((string name, byte[] content) in images.Modules)
        cpio.AddFile("lib/modules/" + name, content, 0x1A4);
    cpio.Finish();
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

static string FindRepository()
{
    string? folder = AppContext.BaseDirectory;
    while (folder != null && !File.Exists(Path.Combine(folder, "Trapline.slnx")))
        folder = Path.GetDirectoryName(folder);
    return folder ?? throw new InvalidOperationException("run this in the repository: ./dev bench net");
}
