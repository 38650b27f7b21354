using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>The state of a whole machine: copies of it, and other engines for it.</summary>
public sealed partial class GuestMachine
{
    private readonly bool _isContinued;

    /// <summary>The engine that runs the vCPUs, one of <see cref="Engines.Names"/>.</summary>
    public string EngineName { get; private set; }

    /// <summary>Builds a machine that goes on where an image was taken, paused until <see cref="Start"/>.</summary>
    /// <param name="image">Stays the caller's.</param>
    /// <param name="specification">
    /// As that of the image; consoles, engine, diagnostics and what ends the machine may differ. Without a boot part the machine ends where it would
    /// boot again.
    /// </param>
    /// <param name="engines">Overrides the engine named in the specification, for tests.</param>
    /// <exception cref="BadInputException">The specification describes another machine, or cannot be used.</exception>
    public static GuestMachine Continue(MachineImage image, MachineSpecification specification, EngineFactory? engines = null)
    {
        if (specification.MemoryBytes != image.Specification.MemoryBytes || specification.Cpu.Count != image.Specification.Cpu.Count)
            throw new BadInputException("a machine goes on with as much memory and as many CPUs as it had");
        CheckDevices(image.Specification.Devices, specification.Devices);
        return new GuestMachine(specification, engines, image);
    }

    /// <summary>The devices are as many as they were, and each disk looks as its predecessor did.</summary>
    private static void CheckDevices(DeviceSpecification before, DeviceSpecification now)
    {
        if (now.Disks.Count > before.Disks.Count)
            throw new BadInputException($"disk '{now.Disks[before.Disks.Count].Name}': the saved machine has {before.Disks.Count} disks; give it no more");
        for (int i = 0; i < before.Disks.Count; i++)
        {
            DiskDevice old = before.Disks[i];
            if (i >= now.Disks.Count || now.Disks[i].Backend is AbsentDisk)
                throw new BadInputException($"disk '{old.Name}' of the saved machine is missing: give it with --disk; its content is not in the snapshot");
            IDiskBackend disk = now.Disks[i].Backend;
            if (disk.Length != old.Backend.Length || disk.IsReadOnly != old.Backend.IsReadOnly)
                throw new BadInputException($"disk '{now.Disks[i].Name}' is not like the saved machine's '{old.Name}', which has {old.Backend.Length} bytes{(old.Backend.IsReadOnly ? " and is read-only" : "")}");
        }
        if (now.Networks.Count != before.Networks.Count)
            throw new BadInputException($"the saved machine has {before.Networks.Count} network cards, and goes on with as many, not {now.Networks.Count}");
        ShareDevice.CheckContinued(before.Shares, now.Shares);
        if (now.Entropy != before.Entropy || now.Balloon != before.Balloon || now.Socket?.Cid != before.Socket?.Cid || now.WithoutPci != before.WithoutPci)
            throw new BadInputException("devices: a machine goes on with the devices that it had");
    }

    /// <summary>
    /// Of each network card: the address that its driver uses, and its own. They differ in a machine that goes on where another was saved, until
    /// somebody in the guest tells the driver.
    /// </summary>
    public IReadOnlyList<(MacAddress Driver, MacAddress Card)> NetworkAddresses => Board.NetworkAddresses;

    /// <summary>Takes an image of the machine as it is now. A running machine stands while that is done, and goes on.</summary>
    /// <exception cref="InvalidOperationException">The machine has ended.</exception>
    public MachineImage Capture() => Capture(out _);

    /// <inheritdoc cref="Capture()"/>
    /// <param name="pause">For how long no vCPU ran.</param>
    public MachineImage Capture(out TimeSpan pause) => Standing(board =>
    {
        board.FlushDisks();
        BoardState state = board.Save();
        MemoryTemplate memory = board.Memory.Freeze();
        return new MachineImage(Specification with { Cpu = Specification.Cpu with { Engine = EngineName } }, _model, state, memory);
    }, out pause);

    /// <summary>Ends the machine for a fault that is not the guest's.</summary>
    public void Fail(string reason) => End(new MachineOutcome(MachineEnd.Failed, reason));

    /// <summary>Has another engine run the vCPUs from here on. A running machine stands while the state moves.</summary>
    /// <param name="name">One of <see cref="Engines.Names"/>.</param>
    /// <returns>For how long no vCPU ran: not at all if this engine runs them already.</returns>
    /// <exception cref="BadInputException">No engine has this name, or it cannot run this machine; the one before goes on.</exception>
    /// <exception cref="InvalidOperationException">The machine has ended.</exception>
    public TimeSpan SwitchEngine(string name)
    {
        name = Engines.Choose(name).Name;
        EngineFactory factory = Engines.Find(name);
        List<IVcpuEngine> spare = [];
        try
        {
            lock (_lock)
            {
                // Two engines of KVM would share one vCPU of the kernel's: a new one cannot be prepared while the old one has the state.
                if (name == EngineName)
                    return TimeSpan.Zero;
                PcBoard prepared = Board;
                if (prepared.ObstacleTo(name) is { } obstacle)
                    throw new BadInputException(obstacle);
                spare = prepared.PrepareEngines(factory);
                Standing(board =>
                {
                    if (board != prepared)
                        throw new InvalidOperationException("the machine was reset meanwhile");
                    Exchange(board, spare);
                    (_engines, EngineName) = (factory, name);
                    return true;
                }, out TimeSpan pause);
                Board.Trace.Lifecycle($"engine {name}");
                return pause;
            }
        }
        finally
        {
            spare.ForEach(engine => engine.Dispose());
        }
    }

    /// <summary>Gives each vCPU its new engine and puts the old one into its place in the list. All or none.</summary>
    private static void Exchange(PcBoard board, List<IVcpuEngine> engines)
    {
        int done = 0;
        try
        {
            for (; done < engines.Count; done++)
                engines[done] = board.Vcpus[done].Replace(engines[done]);
        }
        catch (ArgumentException refusal)
        {
            while (--done >= 0)
                engines[done] = board.Vcpus[done].Replace(engines[done]);
            throw new BadInputException($"the engine cannot go on from this state: {refusal.Message}");
        }
    }

    /// <summary>Does something while no vCPU runs and no time passes.</summary>
    private T Standing<T>(Func<PcBoard, T> work, out TimeSpan pause)
    {
        lock (_lock)
        {
            if (Status == MachineStatus.Ended)
                throw new InvalidOperationException("the machine has ended");
            long start = HostTime.Nanoseconds;
            bool wasRunning = Status == MachineStatus.Running;
            StandStill();
            try
            {
                return work(Board);
            }
            finally
            {
                if (wasRunning)
                    Resume();
                pause = TimeSpan.FromTicks((HostTime.Nanoseconds - start) / 100);
            }
        }
    }
}
