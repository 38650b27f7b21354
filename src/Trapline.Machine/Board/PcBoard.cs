using System.ComponentModel;
using System.Security.Cryptography;
using Trapline.Core;
using Trapline.Devices.Debug;
using Trapline.Devices.Firmware;
using Trapline.Devices.InterruptControllers;
using Trapline.Devices.Pci;
using Trapline.Devices.Ps2;
using Trapline.Devices.Serial;
using Trapline.Devices.Timers;
using Trapline.Machine.Acpi;
using Trapline.Machine.Boot;
using Trapline.Machine.Firmware;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>The wiring of one PC, as a parts list: what is soldered where. A reset makes a new board.</summary>
internal sealed class PcBoard : IDisposable
{
    private readonly MachineSpecification _specification;
    private readonly BoardConsoles _consoles;
    private readonly IBoardHost _host;
    private readonly CpuModel _model;
    private readonly PortBus _ports;
    private readonly MmioBus _mmio;
    private readonly InterruptWiring _interrupts;
    private const string BiosPart = "bios";
    private const int MaximumSerialPorts = ConsoleSpecification.MaximumSerialPorts;

    private readonly AcpiPm _power;
    private readonly GenerationId _generation;
    private readonly ParavirtualVcpu[] _paravirtual;
    private SharedLine[] _pciLines = [];
    private readonly DoorbellMap _doorbells = new();
    private VirtioParts? _virtio;
    private readonly List<IDisposable> _timed = [];
    private readonly BoardParts _parts = new();
    private readonly List<EngineParts> _engineParts = [];
    private readonly EngineResources _engineResources;
    private readonly Task<BootPlan>? _kernel;

    /// <summary>A board that is switched on and boots.</summary>
    /// <param name="startAt">Guest time at which it is switched on.</param>
    /// <exception cref="BadInputException">The memory or the boot images cannot be used.</exception>
    public PcBoard(MachineSpecification specification, BoardConsoles consoles, EngineFactory engines, CpuModel model, IBoardHost host, long startAt)
        : this(specification, consoles, engines, model, host, startAt, LayoutFor(specification), null)
    {
        try
        {
            Boot();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>A board that goes on where another of the same specification stood.</summary>
    /// <param name="memory">RAM and ROM as they were.</param>
    /// <exception cref="BadInputException">The state is not one of such a board.</exception>
    public PcBoard(MachineSpecification specification, BoardConsoles consoles, EngineFactory engines, CpuModel model, IBoardHost host, BoardState state, MemoryTemplate memory)
        : this(specification, consoles, engines, model, host, state.GuestTime, MemoryLayout.For(specification.MemoryBytes, state.RomBytes), memory)
    {
        try
        {
            BootProtocol = state.BootProtocol;
            if (state.Find<BiosState>(BiosPart) is { } bios)
                AddBios(bios.Disk.Image);
            _parts.Restore(WithoutStrangeBackends(state.Parts));
            _generation.Renew(RandomNumberGenerator.GetBytes(GenerationId.Length));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private PcBoard(
        MachineSpecification specification, BoardConsoles consoles, EngineFactory engines, CpuModel model, IBoardHost host, long startAt, MemoryLayout layout, MemoryTemplate? memory)
    {
        (_specification, _consoles, _host, _model, Layout) = (specification, consoles, host, model, layout);
        int vcpus = specification.Cpu.Count;
        Memory = Allocate(Layout, memory);
        if (vcpus == 1)
            Memory.Code.ExpectOne();
        // Whoever watches interrupts or exits wants to see them all: none may stay in the host's kernel.
        bool? kernelApics = specification.Test.KernelLocalApics ?? (specification.Diagnostics.Trace.HasFlag(TraceKinds.Interrupts) ? false : null);
        bool kernelDoorbells = !specification.Diagnostics.Trace.HasFlag(TraceKinds.Exits);
        _engineResources = new EngineResources(Memory, MachineConstants.IoApicPins, kernelApics, kernelDoorbells ? _doorbells : null);
        Clock = new GuestClock(startAt);
        try
        {
            // Unpacking and loading a kernel takes as long as making everything else does, and needs nothing of it but memory.
            if (memory is null && specification.Boot is { } boot && Layout.RomBytes == 0)
                _kernel = Task.Run(() => KernelLoader.Load(boot, new BootTarget(Memory, Layout, AcpiTables.RootPointer, model.Has(Feature.Lm))));
            Trace = new MachineTrace(specification.Diagnostics, Clock);
            _ports = new PortBus(vcpus);
            _mmio = new MmioBus(vcpus);
            _interrupts = new InterruptWiring(vcpus, Clock, ApicOptions(model));
            _timed.AddRange(_interrupts.LocalApics);

            AddInterruptControllers();
            (Pit8254 timer, RtcCmos cmos) = AddClocks();
            _power = AddPowerManagement();
            AddPci();
            AddKeyboardController();
            AddSerialPorts();
            FwCfg configuration = AddFirmwareConfiguration();
            _generation = new GenerationId(Memory, () => _power.RaiseGeneralEvent(MachineConstants.GenerationEvent));
            _parts.Add("generation-id", _generation);
            AddDebugDevices();
            FirmwareData.Describe(cmos, configuration, Layout, vcpus);

            MachineMsrs[] msrs = [.. Enumerable.Range(0, vcpus).Select(_ => new MachineMsrs(model.PhysicalAddressBits, model.Has(Feature.Monitor)))];
            _paravirtual = [.. _interrupts.LocalApics.Select(apic => Timed(new ParavirtualVcpu(model, Memory, Clock, apic)))];
            Hypercalls hypercalls = new(model, _interrupts.Bus, _paravirtual, Memory, Clock);
            Seam = new IoSeam(_ports, _mmio, _interrupts.LocalApics, msrs, _paravirtual, hypercalls, Clock, Trace, specification.Diagnostics.TimeExits);
            Vcpus = AddProcessors(engines);
            KeepInterrupts();
            KeepProcessors(msrs);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public MemoryLayout Layout { get; }

    public GuestMemory Memory { get; }

    public GuestClock Clock { get; }

    public MachineTrace Trace { get; }

    public IoSeam Seam { get; }

    public IReadOnlyList<VcpuThread> Vcpus { get; private set; } = [];

    /// <summary>How the kernel was started, for people.</summary>
    public string BootProtocol { get; private set; } = "none";

    /// <summary>Guest time passes, and devices serve what they are asked for.</summary>
    public void Run()
    {
        Clock.Run();
        _virtio?.Run();
    }

    /// <summary>After the vCPUs: devices finish what they have begun, and time stands.</summary>
    public void Stand()
    {
        _virtio?.Stand();
        Clock.Stand();
    }

    /// <summary>What the guest wrote to its disks is on stable storage, unless the host refuses. The machine stands.</summary>
    public void FlushDisks()
    {
        foreach (string disk in _virtio?.FlushDisks() ?? [])
            Trace.Lifecycle($"{disk} could not be flushed");
    }

    /// <summary>Asks the guest to do without so many bytes; false if the machine has no balloon.</summary>
    public bool TrySetBalloon(ulong bytes)
    {
        _virtio?.Balloon?.SetTarget(bytes);
        return _virtio?.Balloon is not null;
    }

    /// <summary>Null if the machine has no balloon.</summary>
    public BalloonStatistics? Balloon => _virtio?.Balloon is { } balloon ? new BalloonStatistics(balloon.Target, balloon.Actual, balloon.Released) : null;

    /// <summary>Of each network card: the address that its driver uses, and its own.</summary>
    public IReadOnlyList<(MacAddress Driver, MacAddress Card)> NetworkAddresses => [.. (_virtio?.Networks ?? []).Select(n => (n.DriverAddress, n.CardAddress))];

    public void PressPowerButton() => _power.PressPowerButton();

    /// <summary>Asserts every vCPU's LINT1, which the MADT names as NMI.</summary>
    public void SendNmi()
    {
        foreach (VcpuThread vcpu in Vcpus)
            vcpu.NonMaskableInterrupt();
    }

    /// <summary>The state of everything but RAM. The vCPUs and the clock stand.</summary>
    public BoardState Save()
    {
        _consoles.Hold();
        try
        {
            return new BoardState(Clock.Nanoseconds, Layout.RomBytes, BootProtocol, _parts.Save());
        }
        finally
        {
            _consoles.Release();
        }
    }

    /// <summary>The parts whose state is saved.</summary>
    internal BoardParts Parts => _parts;

    /// <summary>Ends the vCPUs, then whatever could still signal them, then memory.</summary>
    public void Dispose()
    {
        foreach (VcpuThread vcpu in Vcpus)
            vcpu.End();
        foreach (VcpuThread vcpu in Vcpus)
            vcpu.Join();
        _virtio?.Dispose();
        Clock.Dispose();
        _consoles.Unplug();
        foreach (IDisposable chip in _timed)
            chip.Dispose();
        foreach (VcpuThread vcpu in Vcpus)
            vcpu.Dispose();
        _engineResources.Dispose();
        if (_kernel is not null)
            Task.WaitAny(_kernel); // it may be loaded still, where making the board failed
        Memory.Dispose();
    }

    private static MemoryLayout LayoutFor(MachineSpecification specification)
    {
        bool isRom = specification.Boot is { } given && RomImage.Recognizes(given.Kernel);
        return MemoryLayout.For(specification.MemoryBytes, isRom ? (ulong)specification.Boot!.Kernel.Content.Length : 0);
    }

    private static GuestMemory Allocate(MemoryLayout layout, MemoryTemplate? template)
    {
        try
        {
            return template is null ? new GuestMemory(layout.Regions) : new GuestMemory(layout.Regions, template);
        }
        catch (Win32Exception refusal)
        {
            throw new BadInputException($"the host refused {layout.MemoryBytes >> 20} MiB of memory ({refusal.Message}): give the machine less");
        }
    }

    private static LocalApicOptions ApicOptions(CpuModel model) => new(
        PhysicalAddressBits: model.PhysicalAddressBits,
        X2Apic: model.Has(Feature.X2Apic),
        TscDeadline: model.Has(Feature.TscDeadline),
        TimerHz: MachineConstants.TscHertz);

    private void AddInterruptControllers()
    {
        _ports.Add("PIC 1", _interrupts.Pic.MasterPorts, 0x20, 2);
        _ports.Add("PIC 2", _interrupts.Pic.SlavePorts, 0xA0, 2);
        _ports.Add("ELCR", _interrupts.Pic.EdgeLevelPorts, 0x4D0, 2);
        _mmio.Add("I/O APIC", _interrupts.IoApic, MachineConstants.IoApicBase, 0x1000);
    }

    private (Pit8254 Timer, RtcCmos Cmos) AddClocks()
    {
        // HPET's own inputs of the I/O APIC, beyond PCI's.
        InterruptLine?[] routes = new InterruptLine?[MachineConstants.IoApicPins];
        for (int pin = MachineConstants.FirstPciInput + MachineConstants.PciInputs; pin < routes.Length; pin++)
            routes[pin] = _interrupts.IoApic.Line(pin);
        Hpet hpet = Timed(new Hpet(Clock, _interrupts.Bus, _interrupts.Isa(0), _interrupts.Isa(8), routes));
        Pit8254 pit = Timed(new Pit8254(Clock, hpet.LegacyTimerInput));
        RtcCmos cmos = Timed(new RtcCmos(Clock, hpet.LegacyClockInput));
        _parts.Add("hpet", hpet);
        _parts.Add("pit", pit);
        _parts.Add("rtc", cmos);
        _mmio.Add("HPET", hpet, MachineConstants.HpetBase, 0x400);
        _ports.Add("PIT", pit, 0x40, 4);
        _ports.Add("port B", pit.PortB, 0x61, 1);
        _ports.Add("CMOS", cmos, 0x70, 2);
        return (pit, cmos);
    }

    private AcpiPm AddPowerManagement()
    {
        const ushort start = MachineConstants.PowerManagementBase;
        AcpiPm power = Timed(new AcpiPm(Clock, _interrupts.Isa(MachineConstants.SciInterrupt), _host.SleepRequested));
        _parts.Add("pm", power);
        _ports.Add("PM events", power.EventPorts, start, 4);
        _ports.Add("PM control", power.ControlPorts, start + 4, 2);
        _ports.Add("PM timer", power.TimerPorts, start + 8, 4);
        _ports.Add("general events", power.GeneralPorts, start + 0xC, 2);
        return power;
    }

    private void AddPci()
    {
        _pciLines = [.. Enumerable.Range(MachineConstants.FirstPciInput, MachineConstants.PciInputs)
            .Select(pin => new SharedLine(_interrupts.IoApic.Line(pin)))];
        PciBus bus = new(
            new PciAddressSpace(_ports, _mmio, _doorbells),
            (device, pin) => _pciLines[MachineConstants.PciInterruptInput(device, pin - 1) - MachineConstants.FirstPciInput].AddInput());
        bus.Add(0, 0, new HostBridge());
        bus.Add(31, 0, new IsaBridge());
        _virtio = new VirtioParts(_specification.Devices, _consoles.Ports, Memory, _specification.Cpu.Count, Trace);
        if (_specification.Devices.WithoutPci)
            _virtio.AddTo(_mmio, _doorbells, device => _pciLines[device % _pciLines.Length].AddInput());
        else
            _virtio.AddTo(bus, _interrupts.Bus);
        PciMechanism1 mechanism = new(bus);
        ResetControl reset = new(_ => _host.ResetRequested("port 0xCF9"));
        foreach ((int slot, PciFunction function) in bus.Slots)
            _parts.Add<PciFunctionState>($"pci.{slot >> 3}.{slot & 7}", function);
        _virtio.AddTo(_parts);
        _parts.Add("pci-address", mechanism);
        _parts.Add("reset-control", reset);
        PciEcam window = new(bus, MachineConstants.EcamLastBus + 1);
        _ports.Add("PCI address", mechanism.AddressPorts, 0xCF8, 4);
        _ports.Add("PCI data", mechanism.DataPorts, 0xCFC, 4);
        _ports.Add("reset control", reset, MachineConstants.ResetPort, 1); // over PCI address
        _mmio.Add("PCI configuration", window, MachineConstants.EcamBase, window.Length);
    }

    private void AddKeyboardController()
    {
        I8042 controller = new(_interrupts.Isa(1), _interrupts.Isa(12), () => _host.ResetRequested("the keyboard controller"));
        SystemControlPortA portA = new(() => _host.ResetRequested("port 0x92"));
        _parts.Add("8042", controller);
        _parts.Add("port-a", portA);
        _ports.Add("8042 data", controller.DataPort, 0x60, 1);
        _ports.Add("8042 command", controller.CommandPort, 0x64, 1);
        _ports.Add("port A", portA, 0x92, 1);
    }

    private void AddSerialPorts()
    {
        for (int i = 0; i < _consoles.Serial.Count; i++)
        {
            if (_consoles.Serial[i] is not { } backend)
                continue;
            (ushort port, int irq) = DsdtBuilder.SerialPorts[i];
            Serial16550 chip = Timed(new Serial16550(Clock, _interrupts.Isa(irq), backend));
            _parts.Add($"serial.{i}", chip);
            if (backend.SavedBackend is { } saved)
                _parts.Add(BackendPart(i), saved);
            _ports.Add($"COM{i + 1}", chip, port, 8);
        }
    }

    private FwCfg AddFirmwareConfiguration()
    {
        FwCfg configuration = new(Memory);
        _parts.Add("fw-cfg", configuration);
        _ports.Add("fw_cfg", configuration, MachineConstants.FirmwareConfigurationPort, 12);
        return configuration;
    }

    private void AddDebugDevices()
    {
        PostCode postCode = new();
        _parts.Add("post-code", postCode);
        _ports.Add("POST code", postCode, 0x80, 1);
        if (_consoles.DebugConsole is { } console)
            _ports.Add("debug console", new DebugConsole(console), MachineConstants.DebugConsolePort, 1);
        if (_specification.End.PanicDevice)
            _ports.Add("pvpanic", new PvPanic(events => Panic(events)), MachineConstants.PanicPort, 1);
        if (_specification.Test.DebugExit)
            _ports.Add("debug exit", new DebugExit(_host.DebugExitWritten), MachineConstants.DebugExitPort, 4);
        if (_specification.Test.TestDevice)
            AddTestDevice();
    }

    private void AddTestDevice()
    {
        // The suites number the lines as the I/O APIC's inputs; the first sixteen reach the 8259 pair too.
        InterruptLine[] lines = [.. Enumerable.Range(0, MachineConstants.IoApicPins).Select(pin => pin < 16 && pin != 0 && pin != 2
            ? _interrupts.Isa(pin)
            : _interrupts.IoApic.Line(pin))];
        TestDevice device = new(lines);
        _parts.Add("test-device", device);
        _ports.Add("test latch", device.LatchPorts, 0xE0, 4);
        _ports.Add("test flush", device.FlushPorts, 0xE4, 4);
        _ports.Add("test lines", device.LinePorts, 0x2000, MachineConstants.IoApicPins);
        _mmio.Add("test memory", device.Memory, 0xFF00_0000, 0x1_0000);
    }

    private void Panic(PanicEvents events)
    {
        if ((events & PanicEvents.Panicked) != 0)
            _host.PanicReported();
    }

    private List<VcpuThread> AddProcessors(EngineFactory engines)
    {
        List<VcpuThread> vcpus = [];
        Vcpus = vcpus;
        ProcessorShare? share = ProcessorShare.For(_specification.Cpu.Count, Environment.ProcessorCount);
        for (int i = 0; i < _specification.Cpu.Count; i++)
        {
            LocalApic apic = _interrupts.LocalApics[i];
            IInterruptSource source = _paravirtual[i].Watch(Trace.Wants(TraceKinds.Interrupts) ? new TracedInterrupts(i, apic, Trace) : apic);
            EngineParts parts = new(i, _specification.Cpu.Count, Memory, _model, Seam, source, apic, Clock, _engineResources)
            {
                Trace = Trace.WantsEngines ? Trace : null,
                TraceWalks = Trace.Wants(TraceKinds.Walks),
                TraceTranslations = Trace.WantsTranslations,
                CodeCacheBytes = _specification.Cpu.CodeCacheBytes,
                Measure = _specification.Diagnostics.TimeExits,
            };
            VcpuThread vcpu = new(i, engines(parts), _paravirtual[i], _host, Trace, _specification.Cpu, share);
            vcpus.Add(vcpu);
            _engineParts.Add(parts);
            apic.Connect(vcpu);
            apic.Connect(Memory);
        }
        return vcpus;
    }

    /// <summary>Why an engine cannot go on with this guest, for people; null if it can.</summary>
    public string? ObstacleTo(string engine)
    {
        // The host's kernel would answer hypercalls, and knows nothing of the machine's: a vCPU would wait for good.
        string[] lost = [.. new[] { Feature.KvmPvIpi, Feature.KvmPvUnhalt }.Where(_model.Has).Select(CpuFeatures.NameOf)];
        return engine == "kvm" && lost.Length > 0 && Vcpus.Count > 1 && _paravirtual.Any(p => p.IsUsed)
            ? $"engine 'kvm' cannot go on with this guest: its vCPUs wake each other by hypercalls that the host's kernel does not answer; a guest begun with --cpu {_specification.Cpu.Model ?? "max"},-{string.Join(",-", lost)} can move"
            : null;
    }

    /// <summary>Makes engines that could take the places of those that run, without touching the machine.</summary>
    public List<IVcpuEngine> PrepareEngines(EngineFactory engines)
    {
        List<IVcpuEngine> made = [];
        try
        {
            foreach (EngineParts parts in _engineParts)
                made.Add(engines(parts));
            return made;
        }
        catch
        {
            made.ForEach(e => e.Dispose());
            throw;
        }
    }

    /// <summary>After all devices: they drive what is here while they are restored.</summary>
    private void KeepInterrupts()
    {
        for (int irq = 0; irq < _interrupts.IsaLines.Count; irq++)
            _parts.Add($"isa-line.{irq}", _interrupts.IsaLines[irq]);
        for (int input = 0; input < _pciLines.Length; input++)
            _parts.Add($"pci-line.{input}", _pciLines[input]);
        _parts.Add("pic", _interrupts.Pic);
        _parts.Add("io-apic", _interrupts.IoApic);
    }

    /// <summary>A local APIC comes after its vCPU: importing a state writes CR8, which is the better half of a register of the local APIC.</summary>
    private void KeepProcessors(MachineMsrs[] msrs)
    {
        for (int i = 0; i < Vcpus.Count; i++)
        {
            _parts.Add($"machine-msrs.{i}", msrs[i]);
            _parts.Add($"vcpu.{i}", new SavedVcpu(Vcpus[i]));
            _parts.Add($"local-apic.{i}", _interrupts.LocalApics[i]);
            _parts.Add($"kvm-interface.{i}", _paravirtual[i]);
        }
    }

    /// <summary>The part that is the state of a serial port's back end.</summary>
    internal static string BackendPart(int serialPort) => $"serial.{serialPort}.backend";

    /// <summary>A back end that has no state for its protocol, or another protocol, starts afresh.</summary>
    private IReadOnlyList<SavedPart> WithoutStrangeBackends(IReadOnlyList<SavedPart> saved)
    {
        List<SavedPart> parts = [.. saved];
        for (int i = 0; i < MaximumSerialPorts; i++)
        {
            string name = BackendPart(i);
            BackendState? mine = i < _consoles.Serial.Count ? _consoles.Serial[i]?.SavedBackend?.Save() : null;
            BackendState? theirs = parts.Find(p => p.Name == name)?.State as BackendState;
            if (mine?.Protocol == theirs?.Protocol)
                continue;
            parts.RemoveAll(p => p.Name == name);
            if (mine is not null)
                parts.Add(new SavedPart(name, mine));
        }
        return parts;
    }

    /// <summary>Puts the kernel into memory and the boot processor at its first instruction; does firmware's work unless the kernel is firmware.</summary>
    private void Boot()
    {
        if (_specification.Boot is not { } boot)
            return;
        if (_kernel is null)
        {
            BootProtocol = "firmware";
            Memory.TryLoad(new Gpa(Layout.RomStart), boot.Kernel.Content.Span);
        }
        else
        {
            FirmwareFacts facts = new(Vcpus.Count, Layout, [.. _consoles.Serial.Select(s => s is not null)], _specification.End.PanicDevice, _specification.Devices.WithoutPci ? _virtio!.Count : 0);
            PowerOn firmware = new(Memory, _ports, facts);
            _generation.Place(MachineConstants.GenerationIdAddress, RandomNumberGenerator.GetBytes(GenerationId.Length));
            firmware.WriteTables();
            BootPlan plan = _kernel.GetAwaiter().GetResult();
            firmware.ProgramChips(_interrupts.LocalApics[0]);
            if (plan.Services)
                InstallBios(AddBios(boot.Kernel.Content));
            IVcpuEngine first = Vcpus[0].Engine;
            first.Import(plan.Enter(first.Export()));
            BootProtocol = plan.Protocol;
        }
        Trace.Lifecycle($"boot by {BootProtocol}");
    }

    private ICharacterBackend? Screen => _consoles.Serial.Count > 0 ? _consoles.Serial[0] : null;

    private Bios AddBios(ReadOnlyMemory<byte> disk)
    {
        Bios bios = new(Memory, Layout, _ports, Clock, Screen, disk, () => _host.ResetRequested("INT 19h"));
        _parts.Add(BiosPart, bios);
        _ports.Add("BIOS services", bios, BiosImage.ServicePort, 1);
        return bios;
    }

    private void InstallBios(Bios bios) => bios.Install((address, bytes) => Memory.TryLoad(new Gpa(address), bytes), serial: Screen is not null);

    private T Timed<T>(T chip) where T : IDisposable
    {
        _timed.Add(chip);
        return chip;
    }
}
