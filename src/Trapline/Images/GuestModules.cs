using Trapline.Machine;

namespace Trapline.Images;

/// <summary>Drivers that Debian's kernel keeps outside of itself: which there are, and which a machine needs. The guest's init loads those it finds.</summary>
internal static class GuestModules
{
    private static readonly string[] Always = ["pvpanic.ko", "pvpanic-mmio.ko"];
    private static readonly string[] Virtio = ["virtio_ring.ko", "virtio.ko", "virtio_pci_legacy_dev.ko", "virtio_pci_modern_dev.ko", "virtio_pci.ko"];
    private static readonly string[] Disks = ["virtio_blk.ko"];
    private static readonly string[] Entropy = ["virtio-rng.ko"];

    public static IReadOnlyList<string> All { get; } = [.. Always, .. Virtio, .. Disks, .. Entropy];

    public static IReadOnlyList<string> For(MachineSpecification specification)
    {
        DeviceSpecification devices = specification.Devices;
        List<string> wanted = [];
        if (devices.Disks.Count > 0)
            wanted.AddRange(Disks);
        if (devices.Entropy)
            wanted.AddRange(Entropy);
        return [.. Always, .. wanted.Count > 0 ? Virtio : [], .. wanted];
    }
}
