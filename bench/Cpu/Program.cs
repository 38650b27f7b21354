using System.Diagnostics;
using System.Globalization;
using Trapline.Bench;
using Trapline.Core;
using Trapline.Images;

try
{
    return await RunAsync(args);
}
catch (BadInputException e)
{
    Console.Error.WriteLine("bench: " + e.Message);
    return 2;
}

static async Task<int> RunAsync(string[] args)
{
    if (args.Contains("--help") || args.Contains("-h"))
    {
        Console.Write(BenchOptions.Help);
        return 0;
    }
    if (args.Contains("--list"))
    {
        Console.WriteLine(string.Join('\n', Workloads.All.Select(w => $"{w.Name,-16}{w.Kind.ToString().ToLowerInvariant(),-10}{w.Line(1)}")));
        return 0;
    }
    BenchOptions options = BenchOptions.Parse(args);
    string repository = FindRepository();
    Fetching fetching = new();
    GuestImages images = await GuestImageStore.ForUser().GetAsync(fetching, CancellationToken.None);
    List<Contender> machines = [Contenders.MakeTrapline(repository, images.KernelPath, options.Engine, options.Cpus)];
    if (options.Qemu)
        machines.Add(Contenders.MakeQemu(images.KernelPath, options.Cpus));
    Workload[] workloads = [.. Workloads.All.Where(options.Wants)];
    string root = await BenchRoot.GetAsync(fetching, CancellationToken.None);

    using Scratch scratch = new();
    Say("building the guest");
    string script = BenchImage.Script(workloads, options.Scale);
    string full = scratch.At("full.cpio"), small = scratch.At("small.cpio"), folder = scratch.At("root");
    BenchImage.WriteSmall(small, images);
    if (options.Image is { } image)
    {
        BenchImage.WriteFull(image, images, root, script, options.Scale);
        Say($"wrote {image}; its kernel is {images.KernelPath}");
        return 0;
    }
    BenchImage.WriteFull(full, images, root, script, options.Scale);

    // The launcher builds what has changed: not a part of any figure.
    Say("building trapline");
    await HostCommand.RunAsync(Path.Combine(repository, "trapline"), ["--version"], null, CancellationToken.None);

    Results results = new();
    bool complete = true;
    for (int round = 1; round <= options.Rounds; round++)
    {
        foreach (Contender machine in machines)
        {
            if (options.Wants(Workloads.Boot))
            {
                RunResult boot = await machine.RunAsync(small, options.Timeout, _ => { });
                foreach ((string what, double time) in new[] { ("boot, first command", boot.FirstLine), ("boot, whole command", boot.Whole) })
                    Heard(round, machine.Name, new Measurement(what, time, null));
            }
            if (workloads.Length > 0)
                complete &= await MeasureAsync(round, machine, full);
        }
        if (!options.Native || workloads.Length == 0)
            continue;
        if (!Directory.Exists(folder))
            BenchImage.WriteFolder(folder, images, root, script, options.Scale);
        // Its times are short, so that one disturbance would be a round's whole figure.
        for (int i = 0; i < Contenders.NativeRuns; i++)
            complete &= await MeasureAsync(round, Contenders.MakeNative(), folder);
    }

    string[] rows = [.. options.Wants(Workloads.Boot) ? new[] { "boot, first command", "boot, whole command" } : [], .. workloads.Select(w => w.Name)];
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{options.Rounds} rounds, scale {options.Scale}, engine {options.Engine ?? "default"}; medians, half the range beside them; {images.Description}"));
    new Report(results, Console.Out).Print(rows);
    string[] disagreements = [.. results.Disagreements()];
    foreach (string line in disagreements)
        Console.WriteLine("CHECKSUMS DIFFER: " + line);
    if (disagreements.Length == 0)
        Console.WriteLine("checksums agree");
    return complete && disagreements.Length == 0 ? 0 : 1;

    async Task<bool> MeasureAsync(int round, Contender contender, string image)
    {
        Stopwatch clock = Stopwatch.StartNew();
        RunResult run = await contender.RunAsync(image, options.Timeout, m => Heard(round, contender.Name, m));
        string[] missing = [.. workloads.Select(w => w.Name).Except(run.Measurements.Select(m => m.Name))];
        Say($"round {round}/{options.Rounds} {contender.Name}: done in {clock.Elapsed.TotalSeconds:F0} s"
            + (missing.Length > 0 ? $"; NO RESULT of {string.Join(", ", missing)}:\n{run.Tail}" : ""));
        return missing.Length == 0;
    }

    void Heard(int round, string contender, Measurement measurement)
    {
        results.Add(contender, measurement);
        Say(string.Create(CultureInfo.InvariantCulture, $"round {round}/{options.Rounds} {contender}: {measurement.Name} {measurement.Milliseconds:N1} ms"));
    }
}

static void Say(string text) => Console.Error.WriteLine("bench: " + text);

static string FindRepository()
{
    string? folder = AppContext.BaseDirectory;
    while (folder != null && !File.Exists(Path.Combine(folder, "Trapline.slnx")))
        folder = Path.GetDirectoryName(folder);
    return folder ?? throw new BadInputException("run this in the repository: ./dev bench cpu");
}

/// <summary>Says what is fetched, once for each thing.</summary>
internal sealed class Fetching : IProgress<FetchProgress>
{
    private string _last = "";

    public void Report(FetchProgress value)
    {
        if (value.Activity != _last)
            Console.Error.WriteLine("bench: " + value.Activity);
        _last = value.Activity;
    }
}

/// <summary>Files of one run, gone at its end.</summary>
internal sealed class Scratch : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("trapline-bench-").FullName;

    public string At(string name) => Path.Combine(_path, name);

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
