using Trapline.Cli.Options;
using Trapline.Cli.Terminal;
using Trapline.Consoles;
using Trapline.Core;
using Trapline.Host;
using Trapline.Images;
using Trapline.Machine;
using Trapline.Network;
using Trapline.Network.Passt;
using Trapline.Networks;
using Trapline.Storage;
using Trapline.Storage.Qcow2;
using Trapline.Virtio.Console;

namespace Trapline.Cli;

/// <summary>The files, terminals and back ends that one run uses; opened before the machine, closed after it, the last first.</summary>
internal sealed class RunResources : IDisposable
{
    private readonly Stack<IDisposable> _open = new();

    public T Use<T>(T resource) where T : IDisposable
    {
        _open.Push(resource);
        return resource;
    }

    /// <summary>The first serial port's back end, or null for no port.</summary>
    /// <param name="target">Where it goes.</param>
    /// <param name="escape">Applied to what is typed, if standard input is a terminal.</param>
    public ICharacterBackend? OpenSerial(SerialTarget target, EscapeFilter escape)
    {
        switch (target.Kind)
        {
            case SerialKind.Stdio:
                bool typed = HostTerminal.IsTerminal(0);
                // A background job that reads its terminal is stopped by the kernel: better no input.
                Stream? input = typed && !HostTerminal.IsForeground ? null : DescriptorStream.StandardInput;
                return Use(new StreamConsole(DescriptorStream.StandardOutput, input, typed ? escape.Apply : null));
            case SerialKind.File:
                return Use(new StreamConsole(Use(OutputFile.Create("--serial", "file:" + target.Path, target.Path))));
            case SerialKind.Pty:
                PseudoTerminal pty = Use(OpenPty("--serial"));
                Console.Error.WriteLine("trapline: the serial port is " + pty.Name);
                return Use(new StreamConsole(pty.Stream, pty.Stream));
            default:
                return null;
        }
    }

    /// <summary>The machine's paravirtual devices, their files opened.</summary>
    /// <exception cref="BadInputException">A disk cannot be opened.</exception>
    public DeviceSpecification OpenDevices(RunSettings settings) => new()
    {
        Disks = OpenDisks(settings),
        Networks = OpenNetworks(settings),
        Shares = settings.Shares,
        Entropy = settings.Entropy,
        Balloon = settings.Balloon,
        Socket = settings.Socket,
        WithoutPci = settings.WithoutPci,
    };

    /// <exception cref="BadInputException">A disk cannot be opened.</exception>
    public IReadOnlyList<DiskDevice> OpenDisks(RunSettings settings) =>
        [.. settings.Image is { } name ? [OpenImage(name)] : Array.Empty<DiskDevice>(), .. settings.Disks.Select(disk => new DiskDevice(disk.Path, Use(DiskImage.Open(disk)), disk.Serial ?? ""))];

    /// <summary>The cards that the user named, or the one that a machine has unless its user names others.</summary>
    private IReadOnlyList<NetworkDevice> OpenNetworks(RunSettings settings)
    {
        // What a card writes into guest memory while a block runs both ways would look like a difference.
        if (settings.Network.Cards is null && settings.Cpu.Engine == "verify")
            return [];
        if (settings.Network.Cards is null && !PasstBackend.IsInstalled)
        {
            if (settings.Verbose)
                Console.Error.WriteLine("trapline: no network: passt is not installed (apt-get install passt)");
            return [];
        }
        return [.. (settings.Network.Cards ?? [NetworkSpecification.User]).Where(c => c.Kind != NetworkKind.None).Select(c => OpenNetwork(c, settings.Network.Published))];
    }

    /// <summary>The cards of a saved machine, connected to what the user says, else to what they were connected to.</summary>
    /// <exception cref="BadInputException">There is no such network.</exception>
    public IReadOnlyList<NetworkDevice> ReopenNetworks(NetworkSettings settings, IReadOnlyList<NetworkDevice> saved)
    {
        NetworkSpecification[] before = [.. saved.Select(n => NetworkSpecification.Parse("--net", n.Name))];
        // --publish alone chooses no network: the saved ones stay.
        bool isNamed = settings.Cards is { } named && !(settings.Published.Count > 0 && ReferenceEquals(named[0], NetworkSpecification.User));
        return [.. (isNamed ? settings.Cards! : before).Select(c => OpenNetwork(c, c.Kind == NetworkKind.User ? settings.Published : []))];
    }

    private NetworkDevice OpenNetwork(NetworkSpecification specification, IReadOnlyList<PublishedPort> published)
    {
        NetworkConnection connection = new()
        {
            Published = specification.Kind == NetworkKind.User ? published : [],
            SwitchPath = name => Path.Combine(Control.Sockets.RuntimeDirectory.ForUser().Path, name + ".switch"),
            Report = line => Console.Error.WriteLine("trapline: " + line),
        };
        try
        {
            NetworkDevice device = connection.Open(specification);
            Use(device.Backend);
            return device;
        }
        catch (BadInputException e)
        {
            throw OptionNames.Named(e);
        }
    }

    /// <summary>The first disk: what it writes goes to a file that nobody sees and that ends with this process.</summary>
    private DiskDevice OpenImage(string name)
    {
        StoredDiskImage image = DiskImageStore.ForUser().Find(name);
        string path = Path.Combine(Path.GetTempPath(), $"trapline-{Guid.NewGuid():N}.qcow2");
        ImageCreator.CreateQcow2(path, new Qcow2Settings { Size = image.Length, BackingName = image.Path, BackingFormat = ImageFormat.Raw });
        try
        {
            return new DiskDevice(image.Path, Use(DiskImage.Open(new DiskSpecification { Path = path, Format = ImageFormat.Qcow2, Cache = CacheMode.Unsafe, Unmap = true })), "");
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>The ports of a virtio console.</summary>
    public IReadOnlyList<ConsolePortSpecification> OpenPorts(RunSettings settings) =>
        [.. settings.Ports.Select(port => new ConsolePortSpecification(port.Name, OpenPort(port)))];

    /// <summary>The ports of a saved machine, leading where the user says; the others lead nowhere.</summary>
    /// <exception cref="BadInputException">The machine has no such port, or it cannot be opened.</exception>
    public IReadOnlyList<ConsolePortSpecification> ReopenPorts(IReadOnlyList<PortArgument> given, IReadOnlyList<ConsolePortSpecification> saved)
    {
        foreach (PortArgument port in given)
            if (saved.All(s => s.Name != port.Name))
                throw new BadInputException($"--port '{port.Name}': the saved machine has no such port, {(saved.Count == 0 ? "nor any other" : "only " + string.Join(", ", saved.Select(s => s.Name)))}");
        return [.. saved.Select(s => given.Where(p => p.Name == s.Name).Select(p => s with { Backend = OpenPort(p) }).LastOrDefault() ?? s)];
    }

    private StreamConsole OpenPort(PortArgument port)
    {
        if (port.Target.Kind == SerialKind.File)
            return Use(new StreamConsole(Use(OutputFile.Create("--port", $"{port.Name}=file:{port.Target.Path}", port.Target.Path))));
        PseudoTerminal pty = Use(OpenPty("--port"));
        Console.Error.WriteLine($"trapline: the port {port.Name} is {pty.Name}");
        return Use(new StreamConsole(pty.Stream, pty.Stream));
    }

    public ICharacterBackend? OpenDebugConsole(string? path) =>
        path == null ? null : Use(new StreamConsole(Use(OutputFile.Create("--debugcon", path, path))));

    public DiagnosticsSpecification OpenDiagnostics(RunSettings settings)
    {
        TextWriter? writer = settings.Trace switch
        {
            null => settings.DumpBlocks.Count > 0 ? Console.Error : null,
            { Path: null } => Console.Error,
            { Path: { } path } => Use(new StreamWriter(OutputFile.Create("--trace", path, path), bufferSize: 1 << 16)),
        };
        return new DiagnosticsSpecification
        {
            TimeExits = settings.Statistics,
            Trace = settings.Trace?.Kinds ?? TraceKinds.None,
            TraceWriter = writer,
            DumpBlocks = settings.DumpBlocks,
            PerfMap = settings.PerfMap ? Use(PerfMapFile.Open()) : null,
        };
    }

    public void Dispose()
    {
        while (_open.TryPop(out IDisposable? resource))
            resource.Dispose();
    }

    private static PseudoTerminal OpenPty(string option)
    {
        try
        {
            return PseudoTerminal.Open();
        }
        catch (IOException e)
        {
            throw new BadInputException($"{option} 'pty' cannot be opened: {e.Message}; use stdio or file:PATH");
        }
    }
}
