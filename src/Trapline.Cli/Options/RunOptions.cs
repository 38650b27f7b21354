using System.CommandLine;
using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>The options of `trapline run` and their values.</summary>
internal sealed class RunOptions
{
    private readonly Option<string> _kernel = Text("--kernel", "FILE",
        "Boot this instead of the default guest: bzImage, ELF vmlinux (PVH), Multiboot 1 ELF or a flat boot sector, told apart by content");
    private readonly Option<string> _initrd = Text("--initrd", "FILE", "Initial RAM disk for --kernel (Multiboot: the first module)");
    private readonly Option<string> _append = Text("--append", "STRING", "Kernel command line; without --kernel, added to the default guest's");
    private readonly Option<string> _image = Text("--image", "NAME", "Run in this root file system, built on first use, instead of busybox; what is written is lost at the end: debian");
    private readonly Option<string> _memory = Text("--memory", "SIZE", "Guest memory, with K, M, G or T; taken from the host as it is touched [default: 512M]");
    private readonly Option<string> _cpu = Text("--cpu", "MODEL[,+F,-F]", "CPU model, and features added or taken away; see trapline cpu list [default: max]");
    private readonly Option<string> _cpus = Text("--cpus", "N", $"How many vCPUs, 1 to {CpuSpecification.MaximumCount} [default: 1]");
    private readonly Option<string> _cpuWeight = Text("--cpu-weight", "N", $"How much the vCPUs count beside other machines', 1 to {CpuSpecification.LargestWeight} [default: {CpuSpecification.DefaultWeight}]");
    private readonly Option<string> _cpuCap = Text("--cpu-cap", "PERCENT", "The most that each vCPU gets of one host processor, 1 to 100 percent");
    private readonly Option<string> _cpuPin = Text("--cpu-pin", "SET[:SET...]", "Host processors for all vCPUs, such as 0-1,3, or a set for each vCPU, such as 0:1");
    private readonly Option<string> _serial = Text("--serial", "TARGET", "First serial port: stdio, file:PATH, pty or none [default: stdio]");
    private readonly Option<string> _debugConsole = Text("--debugcon", "FILE", "Write what the guest sends to port 0xE9 to this file");
    private readonly Option<bool> _debugExit = Switch("--debug-exit", "Let the guest end the run: writing v to port 0xF4 exits with (v<<1)|1");
    private readonly Option<string[]> _device = new("--device") { Description = "Add a device: rng, the host's random numbers; balloon, which gives unused memory back; testdev, for public CPU test suites", HelpName = "NAME", Arity = ArgumentArity.OneOrMore };
    private readonly Option<string[]> _disk = DiskOption.Make("Add a disk: FILE[,format=raw|qcow2][,ro][,cache=MODE][,discard=unmap][,serial=TEXT]");
    private readonly Option<string[]> _share = ShareOption.Make("Share a folder of this host with the guest, which has it at /mnt/TAG; ro: the guest can change nothing in it");
    private readonly NetworkOptions _network = new("Add a network card: user, the host's network by passt, no privileges needed; none; tap=NAME, a tap device that is there; socket=NAME[,ip=ADDRESS/PREFIX], a switch of your machines [default: user where passt is installed, else none]", withAllow: true);
    private readonly Option<string> _vsock = Text("--vsock", "PATH[,cid=N]", "Sockets between guest and host: write CONNECT PORT to this Unix socket; the guest reaches PATH_N as port N of the host");
    private readonly Option<string[]> _port = new("--port") { Description = "Add a port for programs in the guest, /dev/vportNpM: file:PATH or pty", HelpName = "NAME=TARGET", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };
    private readonly Option<bool> _virtioMmio = Switch("--virtio-mmio", "Put virtio devices into memory instead of on the PCI bus");
    private readonly Option<string> _timeout = Text("--timeout", "TIME", "End the run after this host time: seconds, or with ms, s, m, h");
    private readonly Option<string> _engine = Text("--engine", "NAME", $"What runs the CPU: {string.Join(", ", Engines.Names)} [default: {Engines.Default}]");
    private readonly Option<bool> _verbose = Switch("--verbose", "Say on stderr which engine runs the guest, and why");
    private readonly Option<string> _codeCache = Text("--code-cache", "SIZE", "Most memory for translated code of a CPU, 1M to 1G; when full, it begins anew [default: 64M]");
    private readonly Option<bool> _statistics = Switch("--stats", "At the end, print instructions, exits by reason and times to stderr");
    private readonly Option<string> _trace = Text("--trace", "KINDS[:FILE]", $"Trace events to a file or stderr: {string.Join(", ", TraceArgument.Names)}");
    private readonly Option<string> _dumpBlock = Text("--dump-block", "ADDRESS[,ADDRESS]", "Trace each block with one of these guest addresses beside its translation, whenever it is translated");
    private readonly Option<bool> _perfMap = Switch("--perf-map", "Write /tmp/perf-PID.map, which lets Linux perf name translated guest code");
    private readonly Option<string> _save = Text("--save", "FILE", "When the command or shell has ended, save the machine here instead of switching it off; see trapline restore");
    private readonly Option<bool> _noReboot = Switch("--no-reboot", "End the run when the guest reboots");
    private readonly Option<string> _name = Text("--name", "NAME", "Make the machine reachable by this name: trapline list, stats, pause, resume, reset, stop");
    private readonly Option<bool> _idle = Switch("--idle", "With --name: run nothing in the default guest but what trapline exec asks for");

    public RunOptions()
    {
        _serial.CompletionSources.Add("stdio", "file:", "pty", "none");
        _device.CompletionSources.Add("rng", "balloon", "testdev");
        _image.CompletionSources.Add([.. DiskImageStore.Known]);
        _engine.CompletionSources.Add([.. Engines.Names]);
        _trace.CompletionSources.Add([.. TraceArgument.Names]);
        _cpu.CompletionSources.Add([.. X86.CpuModel.Names]);
        _device.AllowMultipleArgumentsPerToken = false;
    }

    public void AddTo(Command command)
    {
        Option[] options =
        [
            _image, _kernel, _initrd, _append, _memory, _cpu, _cpus, _cpuWeight, _cpuCap, _cpuPin, _serial, _debugConsole, _debugExit, _device, _disk, _share,
            .. _network.All, _vsock, _port, _virtioMmio,
            _timeout, _engine, _verbose, _codeCache, _statistics, _trace, _dumpBlock, _perfMap, _noReboot, _save, _name, _idle,
        ];
        foreach (Option option in options)
            command.Add(option);
    }

    /// <exception cref="BadInputException">A value makes no sense; the message names option, value and what to do.</exception>
    public RunSettings Read(ParseResult result, IReadOnlyList<ReadOnlyMemory<byte>>? command)
    {
        string engine = result.GetValue(_engine) ?? Engines.Default;
        if (!Engines.Names.Contains(engine))
            throw new BadInputException($"--engine '{engine}' is not known: use {string.Join(", ", Engines.Names)}");
        string[] devices = result.GetValue(_device) ?? [];
        foreach (string device in devices)
        {
            if (device is not ("testdev" or "rng" or "balloon"))
                throw new BadInputException($"--device '{device}' is not known: use rng, balloon or testdev");
        }
        CpuSpecification cpu = result.GetValue(_cpu) is { } model ? CpuArgument.Parse("--cpu", model) : new CpuSpecification();
        RunSettings settings = new()
        {
            Image = result.GetValue(_image),
            Kernel = result.GetValue(_kernel),
            Save = result.GetValue(_save),
            Initrd = result.GetValue(_initrd),
            Append = result.GetValue(_append),
            MemoryBytes = Quantity.ParseMemory("--memory", result.GetValue(_memory) ?? "512M"),
            Cpu = cpu with
            {
                Engine = engine,
                Weight = result.GetValue(_cpuWeight) is { } weight ? Quantity.ParseCount("--cpu-weight", weight, CpuSpecification.LargestWeight) : CpuSpecification.DefaultWeight,
                CapPercent = result.GetValue(_cpuCap) is { } cap ? Quantity.ParseCount("--cpu-cap", cap.TrimEnd('%'), 100) : null,
                Pins = result.GetValue(_cpuPin) is { } pins ? ProcessorSets.Parse("--cpu-pin", pins) : [],
                Count = result.GetValue(_cpus) is { } cpus ? Quantity.ParseCount("--cpus", cpus, CpuSpecification.MaximumCount) : 1,
                CodeCacheBytes = result.GetValue(_codeCache) is { } cache ? Quantity.ParseCodeCache("--code-cache", cache) : CpuSpecification.DefaultCodeCache,
            },
            Serial = result.GetValue(_serial) is { } serial ? SerialTarget.Parse("--serial", serial) : null,
            DebugConsole = result.GetValue(_debugConsole),
            Test = new TestSpecification { DebugExit = result.GetValue(_debugExit), TestDevice = devices.Contains("testdev") },
            Disks = DiskOption.Read(result, _disk),
            Shares = ShareOption.Read(result, _share),
            Network = _network.Read(result),
            Entropy = devices.Contains("rng"),
            Balloon = devices.Contains("balloon"),
            Socket = result.GetValue(_vsock) is { } socket ? VsockArgument.Parse("--vsock", socket) : null,
            Ports = [.. (result.GetValue(_port) ?? []).Select(text => PortArgument.Parse("--port", text))],
            WithoutPci = result.GetValue(_virtioMmio),
            End = new EndSpecification
            {
                NoReboot = result.GetValue(_noReboot),
                WhenHaltedForGood = true,
                Timeout = result.GetValue(_timeout) is { } timeout ? Quantity.ParseTime("--timeout", timeout) : null,
            },
            Statistics = result.GetValue(_statistics),
            Trace = result.GetValue(_trace) is { } trace ? TraceArgument.Parse("--trace", trace) : null,
            DumpBlocks = result.GetValue(_dumpBlock) is { } blocks ? Hexadecimal.ParseAddresses("--dump-block", blocks) : [],
            PerfMap = result.GetValue(_perfMap),
            Verbose = result.GetValue(_verbose),
            Name = result.GetValue(_name) is { } name ? CheckName(name) : null,
            Idle = result.GetValue(_idle),
            Command = command,
        };
        CheckTogether(settings);
        return WithEngineThatShows(settings);
    }

    private static void CheckTogether(RunSettings settings)
    {
        if (settings.Initrd != null && settings.Kernel == null)
            throw new BadInputException($"--initrd '{settings.Initrd}' needs a kernel: give --kernel FILE too");
        if (NeedsTranslator(settings) is { } option && settings.Cpu.Engine is "interpreter" or "kvm")
            throw new BadInputException($"{option} and --engine '{settings.Cpu.Engine}' do not go together: only the translator translates");
        if (ShowsInside(settings) && settings.Cpu.Engine == "kvm")
            throw new BadInputException("--trace of exceptions, walks or translate and --engine 'kvm' do not go together: the processor does not show them");
        CheckIdle(settings);
        if (settings.Idle && settings.Kernel != null)
            throw new BadInputException($"--idle and --kernel '{settings.Kernel}' do not go together: an idle guest is the default one, and runs what trapline exec asks for");
        if (settings.Idle && settings.Save != null)
            throw new BadInputException($"--save '{settings.Save}' and --idle do not go together: trapline save {settings.Name} {settings.Save} does it when you want it");
        CheckImage(settings);
        if (settings.Command is [])
            throw new BadInputException("there is no command after '--': name one, such as trapline run -- uname -a");
        if (settings.Save != null && settings.Kernel != null)
            throw new BadInputException($"--save '{settings.Save}' and --kernel do not go together: only the default guest tells when its command or shell has ended");
        if (settings.Command != null && settings.Kernel != null)
            throw new BadInputException($"--kernel '{settings.Kernel}' and a command after '--' do not go together: only the default guest runs commands");
    }

    private static void CheckImage(RunSettings settings)
    {
        if (settings.Image == null)
            return;
        if (!DiskImageStore.Known.Contains(settings.Image))
            throw new BadInputException($"--image '{settings.Image}' is not known: use {string.Join(", ", DiskImageStore.Known)}");
        if (settings.Kernel != null)
            throw new BadInputException($"--image '{settings.Image}' and --kernel '{settings.Kernel}' do not go together: an image runs on the default guest's kernel");
        if (settings.Save != null)
            throw new BadInputException($"--image '{settings.Image}' and --save '{settings.Save}' do not go together: what the run wrote to its disk is lost at its end");
    }

    internal static void CheckIdle(RunSettings settings)
    {
        if (settings.Idle && settings.Name == null)
            throw new BadInputException("--idle needs a name, by which commands come: give --name NAME too");
        if (settings.Idle && settings.Command != null)
            throw new BadInputException("--idle and a command after '--' do not go together: an idle guest runs what trapline exec asks for");
    }

    private static string? NeedsTranslator(RunSettings settings) => settings.DumpBlocks.Count > 0 ? "--dump-block" : settings.PerfMap ? "--perf-map" : null;

    /// <summary>Events that only a software engine sees are wanted by name.</summary>
    private static bool ShowsInside(RunSettings settings) => settings.Trace is { } trace && trace.Kinds != TraceKinds.All
        && (trace.Kinds & (TraceKinds.Exceptions | TraceKinds.Walks | TraceKinds.Translate)) != 0;

    /// <summary>Who wants to see what only the software engines show is given one of them.</summary>
    private static RunSettings WithEngineThatShows(RunSettings settings) =>
        settings.Cpu.Engine == Engines.Default && (NeedsTranslator(settings) != null || ShowsInside(settings))
            ? settings with { Cpu = settings.Cpu with { Engine = "translator" } }
            : settings;

    /// <summary>Apart, so that only runs with a name load what it takes.</summary>
    internal static string CheckName(string name) => Control.Sockets.MachineName.IsValid(name) ? name
        : throw new BadInputException($"--name {Control.Sockets.MachineName.Complaint(name)}");

    private static Option<string> Text(string name, string value, string description) => new(name) { Description = description, HelpName = value };

    private static Option<bool> Switch(string name, string description) => new(name) { Description = description, Arity = ArgumentArity.Zero };
}
