using Trapline.Virtio.Queues;

namespace Trapline.Virtio;

/// <summary>In front of a device that nothing reaches yet.</summary>
internal sealed class DetachedTransport : IVirtioTransport
{
    public static DetachedTransport Instance { get; } = new();

    public Lock Registers { get; } = new();

    public void InterruptQueue(VirtQueue queue) { }

    public void InterruptConfiguration() { }

    public void WasReset() { }
}
