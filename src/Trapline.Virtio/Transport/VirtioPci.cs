using Trapline.Core;
using Trapline.Devices.Pci;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Transport;

/// <summary>A virtio device as a PCI function (virtio 1.2, 4.1): the modern interface in a memory register, and for the old types the legacy one in ports.</summary>
/// <remarks>
/// The configuration space's lock is the device's register lock too: the access window in configuration space (4.1.4.9) reaches the registers
/// with it held.
/// </remarks>
public sealed class VirtioPci : PciFunction, IVirtioTransport, ISavedDevice<VirtioPciState>
{
    private const ushort Vendor = 0x1AF4;
    private const int LegacyBar = 0, MsixBar = 1, ModernBar = 4;
    private const byte VendorCapability = 0x09;

    // The modern register's structures, a page each.
    private const int CommonAt = 0, InterruptAt = 0x1000, DeviceAt = 0x2000, NotifyAt = 0x3000, WindowLength = 0x4000, StructureLength = 0x1000;
    private const int NotifyMultiplier = 4;

    private readonly VirtioDevice _device;
    private readonly CommonConfiguration _common;
    private readonly int _window;
    private byte _interruptStatus;

    private enum Structure : byte
    {
        Common = 1,
        Notify = 2,
        Interrupt = 3,
        Device = 4,
        PciAccess = 5,
    }

    /// <param name="messages">Where MSI-X goes.</param>
    public VirtioPci(VirtioDevice device, IMsiSink messages)
        : base(Identity(device.Type), pin: 1)
    {
        _device = device;
        int vectors = device.Queues.Count + 1;
        _common = new CommonConfiguration(device, vectors);
        device.Attach(this);
        if (IsTransitional(device.Type))
            AddPortBar(LegacyBar, LegacyPorts.Length, new LegacyPorts(this));
        Msix = new MsixCapability(this, messages, MsixBar, vectors);
        AddMemoryBar(ModernBar, WindowLength, new Window(this));
        AddStructure(Structure.Common, CommonAt, CommonConfiguration.Length);
        AddStructure(Structure.Interrupt, InterruptAt, 1);
        AddStructure(Structure.Device, DeviceAt, StructureLength);
        SetConfig32(AddStructure(Structure.Notify, NotifyAt, StructureLength, 20) + 16, NotifyMultiplier);
        _window = AddStructure(Structure.PciAccess, 0, 0, 20);
        SetWritable(_window + 4, 0xFF);
        for (int at = 8; at < 20; at += 4)
            SetWritable32(_window + at, uint.MaxValue);
    }

    /// <summary>The vectors: one for the configuration, one for each queue.</summary>
    public MsixCapability Msix { get; }

    /// <summary>Types that legacy drivers know (4.1.2.1).</summary>
    private static bool IsTransitional(ushort type) => type is VirtioTypes.Network or VirtioTypes.Block or VirtioTypes.Console or VirtioTypes.Entropy or VirtioTypes.Balloon or VirtioTypes.NineP;

    private static PciIdentity Identity(ushort type)
    {
        uint classCode = type switch
        {
            VirtioTypes.Network => 0x020000,
            VirtioTypes.Block => 0x010000,
            VirtioTypes.Console => 0x078000,
            VirtioTypes.NineP or VirtioTypes.FileSystem => 0x018000,
            _ => 0xFF0000,
        };
        ushort legacy = type switch
        {
            VirtioTypes.Network => 0x1000,
            VirtioTypes.Block => 0x1001,
            VirtioTypes.Balloon => 0x1002,
            VirtioTypes.Console => 0x1003,
            VirtioTypes.Entropy => 0x1005,
            VirtioTypes.NineP => 0x1009,
            _ => 0,
        };
        return legacy != 0
            ? new PciIdentity(Vendor, legacy, classCode, Revision: 0, Vendor, type)
            : new PciIdentity(Vendor, (ushort)(0x1040 + type), classCode, Revision: 1, Vendor, type);
    }

    /// <summary>A structure's capability (4.1.4); returns its offset.</summary>
    private int AddStructure(Structure type, uint offset, uint length, int capabilityLength = 16)
    {
        int at = AddCapability(VendorCapability, capabilityLength);
        SetConfig8(at + 2, (byte)capabilityLength);
        SetConfig8(at + 3, (byte)type);
        SetConfig8(at + 4, ModernBar);
        SetConfig32(at + 8, offset);
        SetConfig32(at + 12, length);
        return at;
    }

    Lock IVirtioTransport.Registers => ConfigLock;

    void IVirtioTransport.InterruptQueue(VirtQueue queue) => Interrupt(queue.Vector, 1);

    void IVirtioTransport.InterruptConfiguration() => Interrupt(_common.ConfigVector, 2);

    void IVirtioTransport.WasReset()
    {
        _common.Reset();
        _interruptStatus = 0;
        SetInterrupt(false);
    }

    /// <summary>With MSI-X the vector's message, if it has one; without, the pin and a bit of the interrupt status (4.1.5.3, 4.1.5.4).</summary>
    private void Interrupt(ushort vector, byte status)
    {
        lock (ConfigLock)
        {
            if (Msix.Enabled)
            {
                if (vector != VirtioDevice.NoVector)
                    Msix.Signal(vector);
                return;
            }
            _interruptStatus |= status;
            SetInterrupt(true);
        }
    }

    private byte TakeInterruptStatus()
    {
        byte status = _interruptStatus;
        _interruptStatus = 0;
        SetInterrupt(false);
        return status;
    }

    private ulong ReadWindow(ulong offset, int size)
    {
        int within = (int)offset & (StructureLength - 1);
        switch ((int)offset & ~(StructureLength - 1))
        {
            case CommonAt:
                return _common.Read(within, size);
            case InterruptAt:
                return within == 0 ? TakeInterruptStatus() : 0u;
            case DeviceAt:
                Span<byte> bytes = stackalloc byte[8];
                bytes.Clear();
                _device.ReadConfig(within, bytes[..size]);
                return System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            default:
                return 0;
        }
    }

    private void WriteWindow(ulong offset, int size, ulong value)
    {
        int within = (int)offset & (StructureLength - 1);
        switch ((int)offset & ~(StructureLength - 1))
        {
            case CommonAt:
                _common.Write(within, size, value);
                break;
            case DeviceAt:
                WriteDevice(within, size, value);
                break;
            case NotifyAt:
                _device.Notify(within / NotifyMultiplier);
                break;
        }
    }

    private void WriteDevice(int offset, int size, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        _device.WriteConfig(offset, bytes[..size]);
    }

    /// <summary>The modern structures; notifications, which are frequent, take no lock.</summary>
    private sealed class Window(VirtioPci owner) : IMmioDevice, IDoorbellDevice
    {
        /// <inheritdoc/>
        public IEnumerable<Doorbell> Doorbells => owner._device.Queues.Select(q => new Doorbell(NotifyAt + (ulong)(q.Index * NotifyMultiplier), 0, null, owner._device.Bell(q.Index)));

        public ulong ReadMmio(ulong offset, int size)
        {
            lock (owner.ConfigLock)
                return owner.ReadWindow(offset, size);
        }

        public void WriteMmio(ulong offset, int size, ulong value)
        {
            if (offset >= NotifyAt)
            {
                owner._device.Notify((int)(offset - NotifyAt) / NotifyMultiplier);
                return;
            }
            lock (owner.ConfigLock)
                owner.WriteWindow(offset, size, value);
        }
    }

    /// <summary>The window's target, if the driver filled the capability in as it must (4.1.4.9.1).</summary>
    private bool TryGetWindowTarget(out uint offset, out int size)
    {
        offset = Config32(_window + 8);
        uint length = Config32(_window + 12);
        size = (int)length;
        return Config8(_window + 4) == ModernBar && length is 1 or 2 or 4 && offset % length == 0 && offset <= WindowLength - length;
    }

    protected override void OnConfigRead(int offset, int size)
    {
        if (offset < _window + 20 && offset + size > _window + 16 && TryGetWindowTarget(out uint target, out int length))
            SetConfig32(_window + 16, (uint)ReadWindow(target, length));
    }

    protected override void OnConfigWritten(int offset, int size)
    {
        if (offset < _window + 20 && offset + size > _window + 16 && TryGetWindowTarget(out uint target, out int length))
            WriteWindow(target, length, Config32(_window + 16));
    }

    /// <inheritdoc/>
    public override void Reset()
    {
        lock (ConfigLock)
            _device.RequestReset();
        _device.WaitForResets();
        Msix.Reset();
        base.Reset();
    }

    VirtioPciState ISavedDevice<VirtioPciState>.Save()
    {
        lock (ConfigLock)
            return _common.Save(_interruptStatus);
    }

    void ISavedDevice<VirtioPciState>.Restore(VirtioPciState state)
    {
        lock (ConfigLock)
        {
            _common.Restore(state);
            _interruptStatus = state.InterruptStatus;
        }
    }

    /// <summary>The legacy interface (4.1.4.10): its ports, with the device's configuration behind them.</summary>
    private sealed class LegacyPorts(VirtioPci owner) : IPortDevice, IDoorbellDevice
    {
        public const int Length = 128;

        private const int PageShift = 12, NotifyRegister = 16;

        /// <inheritdoc/>
        public IEnumerable<Doorbell> Doorbells => Device.Queues.Select(q => new Doorbell(NotifyRegister, 2, (ulong)q.Index, Device.Bell(q.Index)));

        private VirtioDevice Device => owner._device;

        private VirtQueue? Queue => owner._common.QueueSelect < Device.Queues.Count ? Device.Queues[owner._common.QueueSelect] : null;

        /// <summary>Two vector registers come before the configuration while MSI-X is on.</summary>
        private int ConfigAt => owner.Msix.Enabled ? 24 : 20;

        public uint ReadPort(ushort offset, int size)
        {
            lock (owner.ConfigLock)
            {
                if (offset >= ConfigAt)
                {
                    Span<byte> bytes = stackalloc byte[4];
                    bytes.Clear();
                    Device.ReadConfig(offset - ConfigAt, bytes[..size]);
                    return System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(bytes);
                }
                return (offset, size) switch
                {
                    (0, 4) => (uint)(Device.OfferedFeatures & VirtioFeatures.LegacyBits),
                    (4, 4) => (uint)Device.Features,
                    (8, 4) => (uint)((Queue?.DescriptorAddress ?? 0) >> PageShift),
                    (12, 2) => Queue?.MaximumSize ?? 0u,
                    (14, 2) => owner._common.QueueSelect,
                    (18, 1) => (byte)Device.Status,
                    (19, 1) => owner.TakeInterruptStatus(),
                    (20, 2) => owner._common.ConfigVector,
                    (22, 2) => Queue?.Vector ?? VirtioDevice.NoVector,
                    _ => 0,
                };
            }
        }

        public void WritePort(ushort offset, int size, uint value)
        {
            if ((offset, size) is (NotifyRegister, 2))
            {
                Device.Notify((ushort)value);
                return;
            }
            lock (owner.ConfigLock)
            {
                if (offset >= ConfigAt)
                    owner.WriteDevice(offset - ConfigAt, size, value);
                else
                    WriteRegister(offset, size, value);
            }
            // Its drivers do not look whether a reset is done (3.1.1 and 2.6.1 are younger): they may reuse the memory now.
            if (offset is 8 or 18 && value == 0)
                Device.WaitForResets();
        }

        private void WriteRegister(ushort offset, int size, uint value)
        {
            switch (offset, size)
            {
                case (4, 4):
                    Device.WriteFeatures(value, legacy: true);
                    break;
                case (8, 4) when Queue is { } queue:
                    Place(queue, value);
                    break;
                case (14, 2):
                    owner._common.QueueSelect = (ushort)value;
                    break;
                case (18, 1):
                    // A driver that accepts no feature may not have written any.
                    if (((VirtioStatus)value & VirtioStatus.DriverOk) != 0 && (Device.Status & VirtioStatus.FeaturesOk) == 0)
                        Device.WriteFeatures(Device.Features, legacy: true);
                    Device.WriteStatus((byte)(value & ~(uint)VirtioStatus.FeaturesOk));
                    break;
                case (20, 2):
                    owner._common.SetConfigVector((ushort)value);
                    break;
                case (22, 2) when Queue is { } queue:
                    queue.Vector = owner._common.Vector((ushort)value);
                    break;
            }
        }

        /// <summary>A queue in one piece from a page on (2.7.2); page 0 takes it away.</summary>
        private void Place(VirtQueue queue, uint page)
        {
            if (page == 0)
            {
                if (queue.Enabled)
                    Device.RequestQueueReset(queue);
                return;
            }
            if (queue.Enabled)
                return;
            ulong start = (ulong)page << PageShift;
            queue.Size = queue.MaximumSize;
            queue.DescriptorAddress = start;
            queue.DriverAddress = start + (16u * queue.Size);
            queue.DeviceAddress = (queue.DriverAddress + (2u * (3u + queue.Size)) + 0xFFF) & ~0xFFFul;
            Device.EnableQueue(queue);
        }
    }
}
