using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Transport;

/// <summary>State of the registers of the MMIO transport.</summary>
[SavedState("virtio-mmio", 1)]
public sealed record VirtioMmioState(uint DeviceFeatureSelect, uint DriverFeatureSelect, ulong DriverFeatures, uint QueueSelect, uint InterruptStatus);

/// <summary>A virtio device behind memory-mapped registers and one interrupt line (virtio 1.2, 4.2, version 2), for machines without PCI.</summary>
/// <remarks>Its drivers do not wait for the end of a reset, so writes that reset wait for requests under way.</remarks>
public sealed class VirtioMmio : IMmioDevice, IDoorbellDevice, IVirtioTransport, ISavedDevice<VirtioMmioState>
{
    /// <summary>Bytes of guest-physical space.</summary>
    public const ulong Length = 0x200;

    private const uint Magic = 0x7472_6976, Version = 2, Vendor = 0x4C50_5254;
    private const int NotifyRegister = 0x50, ConfigAt = 0x100;

    private readonly VirtioDevice _device;
    private readonly InterruptLine _line;
    private readonly Lock _registers = new();
    private uint _deviceFeatureSelect, _driverFeatureSelect, _queueSelect, _interruptStatus;
    private ulong _driverFeatures;

    public VirtioMmio(VirtioDevice device, InterruptLine line)
    {
        (_device, _line) = (device, line);
        device.Attach(this);
    }

    /// <inheritdoc/>
    public IEnumerable<Doorbell> Doorbells => _device.Queues.Select(q => new Doorbell(NotifyRegister, 4, (ulong)q.Index, _device.Bell(q.Index)));

    Lock IVirtioTransport.Registers => _registers;

    void IVirtioTransport.InterruptQueue(VirtQueue queue) => Interrupt(1);

    void IVirtioTransport.InterruptConfiguration() => Interrupt(2);

    void IVirtioTransport.WasReset()
    {
        (_deviceFeatureSelect, _driverFeatureSelect, _driverFeatures, _queueSelect) = (0, 0, 0, 0);
        SetInterruptStatus(0);
    }

    private void Interrupt(uint status)
    {
        lock (_registers)
            SetInterruptStatus(_interruptStatus | status);
    }

    private void SetInterruptStatus(uint status)
    {
        _interruptStatus = status;
        _line.Set(status != 0);
    }

    private VirtQueue? Queue => _queueSelect < (uint)_device.Queues.Count ? _device.Queues[(int)_queueSelect] : null;

    public ulong ReadMmio(ulong offset, int size)
    {
        lock (_registers)
        {
            if (offset >= ConfigAt)
            {
                Span<byte> bytes = stackalloc byte[8];
                bytes.Clear();
                _device.ReadConfig((int)(offset - ConfigAt), bytes[..size]);
                return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            }
            return size == 4 ? Read((int)offset) : 0;
        }
    }

    private uint Read(int offset) => offset switch
    {
        0x00 => Magic,
        0x04 => Version,
        0x08 => _device.Type,
        0x0C => Vendor,
        0x10 => _deviceFeatureSelect < 2 ? (uint)(_device.OfferedFeatures >> (int)(_deviceFeatureSelect * 32)) : 0,
        0x34 => Queue?.MaximumSize ?? 0u,
        0x44 => Queue is { Enabled: true } ? 1u : 0,
        0x60 => _interruptStatus,
        0x70 => (uint)_device.Status,
        0xB0 or 0xB4 or 0xB8 or 0xBC => uint.MaxValue, // no shared memory
        0xC0 => Queue is { } queue && _device.IsResetting(queue) ? 1u : 0,
        0xFC => _device.ConfigGeneration,
        _ => 0,
    };

    public void WriteMmio(ulong offset, int size, ulong value)
    {
        if (offset == NotifyRegister)
        {
            _device.Notify((ushort)value);
            return;
        }
        lock (_registers)
        {
            if (offset >= ConfigAt)
            {
                Span<byte> bytes = stackalloc byte[8];
                BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
                _device.WriteConfig((int)(offset - ConfigAt), bytes[..size]);
                return;
            }
            if (size != 4)
                return;
            Write((int)offset, (uint)value);
        }
        if (offset is 0x70 or 0x44 or 0xC0)
            _device.WaitForResets();
    }

    private void Write(int offset, uint value)
    {
        switch (offset)
        {
            case 0x14:
                _deviceFeatureSelect = value;
                break;
            case 0x20:
                if (_driverFeatureSelect < 2)
                {
                    int shift = (int)_driverFeatureSelect * 32;
                    _driverFeatures = (_driverFeatures & ~(0xFFFF_FFFFul << shift)) | ((ulong)value << shift);
                }
                _device.WriteFeatures(_driverFeatures, legacy: false);
                break;
            case 0x24:
                _driverFeatureSelect = value;
                break;
            case 0x30:
                _queueSelect = value;
                break;
            case 0x64:
                SetInterruptStatus(_interruptStatus & ~value);
                break;
            case 0x70:
                _device.WriteStatus((byte)value);
                break;
            default:
                if (Queue is { } queue)
                    WriteQueue(queue, offset, value);
                break;
        }
    }

    private void WriteQueue(VirtQueue queue, int offset, uint value)
    {
        switch (offset)
        {
            case 0x44 when value == 1:
                _device.EnableQueue(queue);
                break;
            case 0x44 when value == 0 && queue.Enabled:
            case 0xC0 when value == 1 && _device.Has(VirtioFeatures.RingReset):
                _device.RequestQueueReset(queue);
                break;
            case 0x38 when !queue.Enabled:
                queue.Size = (ushort)Math.Min(value, ushort.MaxValue);
                break;
            case 0x80 or 0x84 when !queue.Enabled:
                queue.DescriptorAddress = With(queue.DescriptorAddress, offset, value);
                break;
            case 0x90 or 0x94 when !queue.Enabled:
                queue.DriverAddress = With(queue.DriverAddress, offset, value);
                break;
            case 0xA0 or 0xA4 when !queue.Enabled:
                queue.DeviceAddress = With(queue.DeviceAddress, offset, value);
                break;
        }
    }

    private static ulong With(ulong address, int offset, uint half)
    {
        int shift = (offset & 4) * 8;
        return (address & ~(0xFFFF_FFFFul << shift)) | ((ulong)half << shift);
    }

    public VirtioMmioState Save()
    {
        lock (_registers)
            return new VirtioMmioState(_deviceFeatureSelect, _driverFeatureSelect, _driverFeatures, _queueSelect, _interruptStatus);
    }

    public void Restore(VirtioMmioState state)
    {
        lock (_registers)
        {
            (_deviceFeatureSelect, _driverFeatureSelect, _driverFeatures, _queueSelect) = (state.DeviceFeatureSelect, state.DriverFeatureSelect, state.DriverFeatures, state.QueueSelect);
            SetInterruptStatus(state.InterruptStatus);
        }
    }
}
