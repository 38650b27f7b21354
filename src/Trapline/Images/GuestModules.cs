using Trapline.Machine;

namespace Trapline.Images;

/// <summary>Drivers that Debian's kernel keeps outside of itself: which there are, and which a machine needs. The guest's init loads those it finds.</summary>
internal static class GuestModules
{
    private static readonly string[] Always = ["pvpanic.ko", "pvpanic-mmio.ko"];
    private static readonly string[] Virtio = ["virtio_ring.ko", "virtio.ko", "virtio_pci_legacy_dev.ko", "virtio_pci_modern_dev.ko", "virtio_pci.ko", "virtio_mmio.ko"];
    private static readonly string[] Disks = ["virtio_blk.ko"];
    private static readonly string[] Entropy = ["virtio-rng.ko"];
    private static readonly string[] Balloon = ["virtio_balloon.ko"];
    private static readonly string[] Ports = ["virtio_console.ko"];
    private static readonly string[] Sockets = ["vsock.ko", "vmw_vsock_virtio_transport_common.ko", "vmw_vsock_virtio_transport.ko"];
    private static readonly string[] Networks = ["failover.ko", "net_failover.ko", "virtio_net.ko"];

    private static readonly string[] Shares = ["fuse.ko", "virtiofs.ko"];

    public static IReadOnlyList<string> All { get; } = [.. Always, .. Virtio, .. Disks, .. Entropy, .. Balloon, .. Ports, .. Sockets, .. Networks, .. Shares];

    public static IReadOnlyList<string> For(MachineSpecification specification)
    {
        DeviceSpecification devices = specification.Devices;
        List<string> wanted = [];
        if (devices.Disks.Count > 0)
            wanted.AddRange(Disks);
        if (devices.Entropy)
            wanted.AddRange(Entropy);
        if (devices.Balloon)
            wanted.AddRange(Balloon);
        if (specification.Consoles.Ports.Count > 0)
            wanted.AddRange(Ports);
        if (devices.Socket is not null)
            wanted.AddRange(Sockets);
        if (devices.Networks.Count > 0)
            wanted.AddRange(Networks);
        if (devices.Shares.Count > 0)
            wanted.AddRange(Shares);
        return [.. Always, .. wanted.Count > 0 ? Virtio : [], .. wanted];
    }
}
