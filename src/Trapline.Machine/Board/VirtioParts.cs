using Trapline.Core;
using Trapline.Devices.Pci;
using Trapline.Host;
using Trapline.Memory;
using Trapline.Virtio;
using Trapline.Virtio.Balloon;
using Trapline.Virtio.Block;
using Trapline.Virtio.Console;
using Trapline.Virtio.FileSystem;
using Trapline.Virtio.Network;
using Trapline.Virtio.Rng;
using Trapline.Virtio.Transport;
using Trapline.Virtio.Vsock;

namespace Trapline.Machine;

/// <summary>The board's virtio devices: which there are, and where.</summary>
internal sealed class VirtioParts : IDisposable
{
    private const int FirstSlot = 1, Slots = 30;

    /// <summary>More workers than this serve no disk or share faster; fewer let one slow request hold up all.</summary>
    private const int MostDiskWorkers = 4;

    private readonly List<(VirtioDevice Device, VirtioPci? Pci, VirtioMmio? Mmio)> _devices = [];

    /// <exception cref="BadInputException">There are more than the bus has slots, or one cannot have what it needs of the host.</exception>
    public VirtioParts(DeviceSpecification specification, IReadOnlyList<ConsolePortSpecification> ports, GuestMemory memory, int vcpus, MachineTrace trace)
    {
        try
        {
            ShareDevice.Check(specification.Shares);
            foreach (VirtioDevice device in Make(specification, ports, memory, vcpus))
            {
                device.Faulted = (broken, fault) => trace.Fault($"{broken.Name} failed and needs a reset: {fault.GetType().Name}: {fault.Message}");
                _devices.Add((device, null, null));
            }
            if (_devices.Count > Slots)
                throw new BadInputException($"devices: a machine has slots for {Slots}, and these are {_devices.Count}");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private static IEnumerable<VirtioDevice> Make(DeviceSpecification specification, IReadOnlyList<ConsolePortSpecification> ports, GuestMemory memory, int vcpus)
    {
        int workers = Math.Clamp(Environment.ProcessorCount, 1, MostDiskWorkers), number = 0;
        foreach (DiskDevice disk in specification.Disks)
            yield return new VirtioBlock($"disk{number++}", memory, disk.Backend, disk.Serial, queues: Math.Min(vcpus, MostDiskWorkers), workers);
        if (specification.Entropy)
            yield return new VirtioRng(memory);
        if (specification.Balloon)
            yield return new VirtioBalloon(memory);
        if (ports.Count > 0)
            yield return new VirtioConsole(memory, ports);
        if (specification.Socket is { } socket)
            yield return new VirtioVsock(memory, socket.Cid, socket.Path);
        number = 0;
        foreach (NetworkDevice network in specification.Networks)
            yield return new VirtioNetwork($"net{number++}", memory, network.Backend, network.Address, Math.Min(vcpus, VirtioNetwork.MostPairs));
        number = 0;
        foreach (ShareDevice share in specification.Shares)
            yield return new VirtioFileSystem($"share{number++}", memory, share.Tag, Open(share), workers);
    }

    private static ConfinedFolder Open(ShareDevice share)
    {
        string folder = share.Folder ?? throw new BadInputException($"share '{share.Tag}' has no folder");
        try
        {
            return ConfinedFolder.Open(folder, share.ReadOnly);
        }
        catch (IOException refusal)
        {
            throw new BadInputException($"share '{share.Tag}': the folder '{folder}' cannot be shared: {refusal.Message}");
        }
    }

    /// <summary>How many there are: the board's tables say so of those that no bus finds.</summary>
    public int Count => _devices.Count;

    public VirtioBalloon? Balloon => _devices.Select(d => d.Device).OfType<VirtioBalloon>().FirstOrDefault();

    public IEnumerable<VirtioNetwork> Networks => _devices.Select(d => d.Device).OfType<VirtioNetwork>();

    /// <summary>Puts them on the PCI bus, from slot 1.</summary>
    public void AddTo(PciBus bus, IMsiSink messages)
    {
        for (int i = 0; i < _devices.Count; i++)
        {
            VirtioPci function = new(_devices[i].Device, messages);
            _devices[i] = (_devices[i].Device, function, null);
            bus.Add(FirstSlot + i, 0, function);
        }
    }

    /// <summary>Puts them into guest-physical memory, where the DSDT says.</summary>
    public void AddTo(MmioBus bus, DoorbellMap doorbells, Func<int, InterruptLine> lines)
    {
        for (int i = 0; i < _devices.Count; i++)
        {
            VirtioMmio registers = new(_devices[i].Device, lines(i));
            _devices[i] = (_devices[i].Device, null, registers);
            bus.Add("virtio", registers, MachineConstants.VirtioMmioAddress(i), VirtioMmio.Length);
            doorbells.Placed(isPort: false, MachineConstants.VirtioMmioAddress(i), registers);
        }
    }

    public void AddTo(BoardParts parts)
    {
        for (int i = 0; i < _devices.Count; i++)
        {
            (VirtioDevice device, VirtioPci? function, VirtioMmio? registers) = _devices[i];
            if (function is not null)
            {
                parts.Add<MsixState>($"virtio.{i}.msix", function.Msix);
                parts.Add<VirtioPciState>($"virtio.{i}.registers", function);
            }
            if (registers is not null)
                parts.Add($"virtio.{i}.registers", registers);
            parts.Add<VirtioDeviceState>($"virtio.{i}", device);
            switch (device)
            {
                case VirtioBalloon balloon:
                    parts.Add<VirtioBalloonState>($"virtio.{i}.balloon", balloon);
                    break;
                case VirtioConsole console:
                    parts.Add<VirtioConsoleState>($"virtio.{i}.console", console);
                    break;
                case VirtioFileSystem share:
                    parts.Add<VirtioFileSystemState>($"virtio.{i}.share", share);
                    break;
                case VirtioNetwork network:
                    parts.Add<VirtioNetworkState>($"virtio.{i}.network", network);
                    break;
                case VirtioVsock socket:
                    parts.Add<VirtioVsockState>($"virtio.{i}.vsock", socket);
                    break;
            }
        }
    }

    /// <summary>The machine runs: requests are served.</summary>
    public void Run()
    {
        foreach ((VirtioDevice device, _, _) in _devices)
            device.Run();
    }

    /// <summary>Has the disks' back ends keep what they were given. The devices stand.</summary>
    /// <returns>The disks that could not.</returns>
    public IReadOnlyList<string> FlushDisks() =>
        [.. _devices.Select(d => d.Device).OfType<VirtioBlock>().Where(disk => !disk.TryFlush()).Select(disk => disk.Name)];

    /// <summary>No device touches memory from here on.</summary>
    public void Stand()
    {
        foreach ((VirtioDevice device, _, _) in _devices)
            device.Stand();
    }

    public void Dispose()
    {
        foreach ((VirtioDevice device, _, _) in _devices)
            device.Dispose();
    }
}
