using Trapline.Core;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Transport;

/// <summary>State of the common configuration structure.</summary>
[SavedState("virtio-pci", 1)]
public sealed record VirtioPciState(uint DeviceFeatureSelect, uint DriverFeatureSelect, ulong DriverFeatures, ushort QueueSelect, ushort ConfigVector, byte InterruptStatus);

/// <summary>The common configuration structure of the PCI transport (virtio 1.2, 4.1.4.3). Fields are accessed in their own width, 64-bit ones in halves too.</summary>
/// <remarks>The caller holds the device's register lock.</remarks>
internal sealed class CommonConfiguration(VirtioDevice device, int vectors)
{
    public const int Length = 0x40;

    private uint _deviceFeatureSelect, _driverFeatureSelect;
    private ulong _driverFeatures;

    public ushort QueueSelect { get; set; }

    public ushort ConfigVector { get; private set; } = VirtioDevice.NoVector;

    private VirtQueue? Queue => QueueSelect < device.Queues.Count ? device.Queues[QueueSelect] : null;

    public void Reset()
    {
        (_deviceFeatureSelect, _driverFeatureSelect, _driverFeatures, QueueSelect) = (0, 0, 0, 0);
        ConfigVector = VirtioDevice.NoVector;
    }

    public ulong Read(int offset, int size) => (offset, size) switch
    {
        (0x00, 4) => _deviceFeatureSelect,
        (0x04, 4) => Half(device.OfferedFeatures, _deviceFeatureSelect),
        (0x08, 4) => _driverFeatureSelect,
        (0x0C, 4) => Half(_driverFeatures, _driverFeatureSelect),
        (0x10, 2) => ConfigVector,
        (0x12, 2) => (ulong)device.Queues.Count,
        (0x14, 1) => (byte)device.Status,
        (0x15, 1) => device.ConfigGeneration,
        (0x16, 2) => QueueSelect,
        (0x18, 2) => Queue?.Size ?? 0ul,
        (0x1A, 2) => Queue?.Vector ?? VirtioDevice.NoVector,
        (0x1C, 2) => Queue is { Enabled: true } ? 1ul : 0,
        (0x1E, 2) => QueueSelect,
        ( >= 0x20 and < 0x38, 4) when offset % 4 == 0 => Half(Address(offset), (uint)(offset >> 2) & 1),
        (0x20 or 0x28 or 0x30, 8) => Address(offset),
        (0x38, 2) => QueueSelect, // notification data: the queue's number
        (0x3A, 2) => Queue is { } queue && device.IsResetting(queue) ? 1ul : 0,
        _ => 0,
    };

    public void Write(int offset, int size, ulong value)
    {
        switch (offset, size)
        {
            case (0x00, 4):
                _deviceFeatureSelect = (uint)value;
                break;
            case (0x08, 4):
                _driverFeatureSelect = (uint)value;
                break;
            case (0x0C, 4):
                if (_driverFeatureSelect < 2)
                    SetHalf(ref _driverFeatures, _driverFeatureSelect, (uint)value);
                device.WriteFeatures(_driverFeatures, legacy: false);
                break;
            case (0x10, 2):
                ConfigVector = Vector((ushort)value);
                break;
            case (0x14, 1):
                device.WriteStatus((byte)value);
                break;
            case (0x16, 2):
                QueueSelect = (ushort)value;
                break;
            default:
                if (Queue is { } queue)
                    WriteQueue(queue, offset, size, value);
                break;
        }
    }

    private void WriteQueue(VirtQueue queue, int offset, int size, ulong value)
    {
        switch (offset, size)
        {
            case (0x1A, 2):
                queue.Vector = Vector((ushort)value);
                break;
            case (0x1C, 2) when value == 1:
                device.EnableQueue(queue);
                break;
            case (0x3A, 2) when value == 1 && device.Has(VirtioFeatures.RingReset):
                device.RequestQueueReset(queue);
                break;
            case (0x18, 2) when !queue.Enabled:
                queue.Size = (ushort)value;
                break;
            case ( >= 0x20 and < 0x38, 4 or 8) when !queue.Enabled && offset % size == 0:
                WriteAddress(queue, offset, size, value);
                break;
        }
    }

    private ulong Address(int offset) => Queue is not { } queue ? 0 : (offset & ~7) switch
    {
        0x20 => queue.DescriptorAddress,
        0x28 => queue.DriverAddress,
        _ => queue.DeviceAddress,
    };

    private void WriteAddress(VirtQueue queue, int offset, int size, ulong value)
    {
        ulong address = Address(offset);
        if (size == 8)
            address = value;
        else
            SetHalf(ref address, (uint)(offset >> 2) & 1, (uint)value);
        switch (offset & ~7)
        {
            case 0x20:
                queue.DescriptorAddress = address;
                break;
            case 0x28:
                queue.DriverAddress = address;
                break;
            default:
                queue.DeviceAddress = address;
                break;
        }
    }

    /// <summary>A vector that the function does not have is none (4.1.5.1.2.1).</summary>
    public ushort Vector(ushort value) => value < vectors ? value : VirtioDevice.NoVector;

    public void SetConfigVector(ushort value) => ConfigVector = Vector(value);

    private static uint Half(ulong value, uint half) => half < 2 ? (uint)(value >> (int)(half * 32)) : 0;

    private static void SetHalf(ref ulong value, uint half, uint part)
    {
        int shift = (int)half * 32;
        value = (value & ~(0xFFFF_FFFFul << shift)) | ((ulong)part << shift);
    }

    public VirtioPciState Save(byte interruptStatus) => new(_deviceFeatureSelect, _driverFeatureSelect, _driverFeatures, QueueSelect, ConfigVector, interruptStatus);

    public void Restore(VirtioPciState state)
    {
        (_deviceFeatureSelect, _driverFeatureSelect, _driverFeatures) = (state.DeviceFeatureSelect, state.DriverFeatureSelect, state.DriverFeatures);
        (QueueSelect, ConfigVector) = (state.QueueSelect, Vector(state.ConfigVector));
    }
}
