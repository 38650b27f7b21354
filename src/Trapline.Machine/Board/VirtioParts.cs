using Trapline.Core;
using Trapline.Devices.Pci;
using Trapline.Memory;
using Trapline.Virtio;
using Trapline.Virtio.Block;
using Trapline.Virtio.Rng;
using Trapline.Virtio.Transport;

namespace Trapline.Machine;

/// <summary>The board's virtio devices: which there are, and in which slots.</summary>
internal sealed class VirtioParts
{
    private const int FirstSlot = 1, LastSlot = 30;

    /// <summary>More workers than this serve no disk faster; fewer let one slow request hold up all.</summary>
    private const int MostDiskWorkers = 4;

    private readonly List<(VirtioDevice Device, VirtioPci Function)> _devices = [];

    /// <exception cref="BadInputException">There are more than the bus has slots.</exception>
    public VirtioParts(DeviceSpecification specification, GuestMemory memory, int vcpus, PciBus bus, IMsiSink messages)
    {
        try
        {
            foreach (VirtioDevice device in Make(specification, memory, vcpus))
            {
                _devices.Add((device, new VirtioPci(device, messages)));
                if (FirstSlot + _devices.Count - 1 > LastSlot)
                    throw new BadInputException($"devices: a machine has slots for {LastSlot - FirstSlot + 1}, and these are more");
                bus.Add(FirstSlot + _devices.Count - 1, 0, _devices[^1].Function);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private static IEnumerable<VirtioDevice> Make(DeviceSpecification specification, GuestMemory memory, int vcpus)
    {
        int workers = Math.Clamp(Environment.ProcessorCount, 1, MostDiskWorkers), number = 0;
        foreach (DiskDevice disk in specification.Disks)
            yield return new VirtioBlock($"disk{number++}", memory, disk.Backend, disk.Serial, queues: Math.Min(vcpus, MostDiskWorkers), workers);
        if (specification.Entropy)
            yield return new VirtioRng(memory);
    }

    public void AddTo(BoardParts parts)
    {
        for (int i = 0; i < _devices.Count; i++)
        {
            (VirtioDevice device, VirtioPci function) = _devices[i];
            parts.Add<MsixState>($"virtio.{i}.msix", function.Msix);
            parts.Add<VirtioPciState>($"virtio.{i}.registers", function);
            parts.Add<VirtioDeviceState>($"virtio.{i}", device);
        }
    }

    /// <summary>The machine runs: requests are served.</summary>
    public void Run()
    {
        foreach ((VirtioDevice device, _) in _devices)
            device.Run();
    }

    /// <summary>No device touches memory from here on.</summary>
    public void Stand()
    {
        foreach ((VirtioDevice device, _) in _devices)
            device.Stand();
    }

    public void Dispose()
    {
        foreach ((VirtioDevice device, _) in _devices)
            device.Dispose();
    }
}
