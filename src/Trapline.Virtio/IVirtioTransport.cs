using Trapline.Virtio.Queues;

namespace Trapline.Virtio;

/// <summary>How a device is reached: what it asks of the registers in front of it.</summary>
internal interface IVirtioTransport
{
    /// <summary>Guards the registers of transport and device. Outermost of the device's locks; workers take it only to send an interrupt.</summary>
    Lock Registers { get; }

    /// <summary>Buffers of a queue were used. From any thread.</summary>
    void InterruptQueue(VirtQueue queue);

    /// <summary>The configuration changed, or the device needs a reset. From any thread.</summary>
    void InterruptConfiguration();

    /// <summary>The device was reset: no interrupt is pending. With the lock held.</summary>
    void WasReset();
}
