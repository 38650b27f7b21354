using Trapline.Core;

namespace Trapline.Machine;

/// <summary>The machine's paravirtual (virtio) devices. The caller owns the back ends and disposes them after the machine.</summary>
public sealed record DeviceSpecification
{
    /// <summary>In the order in which the guest finds them.</summary>
    public IReadOnlyList<DiskDevice> Disks { get; init; } = [];

    /// <summary>The host's random numbers.</summary>
    public bool Entropy { get; init; }
}

/// <summary>A disk of the machine.</summary>
/// <param name="Name">For people: the file.</param>
/// <param name="Serial">What the guest is told to tell its disks apart: at most 20 ASCII characters.</param>
public sealed record DiskDevice(string Name, IDiskBackend Backend, string Serial = "");
