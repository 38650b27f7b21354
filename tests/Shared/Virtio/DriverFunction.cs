using Trapline.Core;
using Trapline.Devices.Pci;
using Trapline.Memory;
using Trapline.Virtio.Transport;

namespace Trapline.Virtio.Tests;

/// <summary>A virtio PCI function as a driver has it: mapped, with its queues in guest memory.</summary>
internal sealed class DriverFunction : IPciAddressSpace, IMsiSink
{
    public const ulong Window = 0xFEB0_0000, MsixTable = 0xFEA0_0000;
    public const ushort Ports = 0xC000;
    public const int Notify = 0x3000, DeviceConfig = 0x2000, InterruptStatus = 0x1000;

    private readonly Line _line = new();
    private int _messages;

    public DriverFunction(VirtioDevice device, GuestMemory memory)
    {
        (Device, Memory) = (device, memory);
        Function = new VirtioPci(device, this);
        Bus = new PciBus(this, (_, _) => _line);
        Bus.Add(1, 0, Function);
        Config(0x10, 4, Ports);
        Config(0x14, 4, (uint)MsixTable);
        Config(0x20, 4, (uint)Window);
        Config(4, 2, 7);
        device.Run();
    }

    private sealed class Line : InterruptLine
    {
        public volatile bool Level;
        public override void Set(bool level) => Level = level;
    }

    public VirtioDevice Device { get; }
    public GuestMemory Memory { get; }
    public VirtioPci Function { get; }
    public PciBus Bus { get; }
    public IMmioDevice? Modern { get; private set; }
    public IMmioDevice? Msix { get; private set; }
    public IPortDevice? Legacy { get; private set; }
    public bool Pin => _line.Level;
    public int Messages => Volatile.Read(ref _messages);
    public MsiMessage LastMessage { get; private set; }

    public void MapPorts(ushort port, int count, IPortDevice device) => Legacy = device;

    public void UnmapPorts(ushort port, int count, IPortDevice device) => Legacy = null;

    public void MapMemory(Gpa address, ulong length, IMmioDevice device)
    {
        if (address.Value == Window)
            Modern = device;
        else
            Msix = device;
    }

    public void UnmapMemory(Gpa address, ulong length, IMmioDevice device) { }

    public void Send(MsiMessage message)
    {
        LastMessage = message;
        Interlocked.Increment(ref _messages);
    }

    public void Config(int offset, int size, uint value) => Bus.WriteConfig(0, 8, offset, size, value);

    public uint Config(int offset, int size) => Bus.ReadConfig(0, 8, offset, size);

    public ulong Read(int offset, int size) => Modern!.ReadMmio((ulong)offset, size) & (size == 8 ? ulong.MaxValue : (1ul << (size * 8)) - 1);

    public void Write(int offset, int size, ulong value) => Modern!.WriteMmio((ulong)offset, size, value);

    public byte Status
    {
        get => (byte)Read(0x14, 1);
        set => Write(0x14, 1, value);
    }

    public ulong Offered
    {
        get
        {
            Write(0, 4, 0);
            ulong low = Read(4, 4);
            Write(0, 4, 1);
            return low | (Read(4, 4) << 32);
        }
    }

    /// <summary>Resets the device and accepts these features (virtio 1.2, 3.1.1); true if it is content.</summary>
    public bool Negotiate(ulong features)
    {
        Reset();
        Status = 1;
        Status = 3;
        Write(8, 4, 0);
        Write(12, 4, (uint)features);
        Write(8, 4, 1);
        Write(12, 4, (uint)(features >> 32));
        Status = 11;
        return Status == 11;
    }

    public void Reset()
    {
        Status = 0;
        SpinWait.SpinUntil(() => Status == 0, TimeSpan.FromSeconds(20));
    }

    /// <summary>Makes a queue at an address and enables it.</summary>
    public DriverQueue Queue(int index, ulong start, ushort size = 16, bool packed = false)
    {
        DriverQueue queue = new(Memory, start, size, packed);
        Write(0x16, 2, (ulong)index);
        Write(0x18, 2, size);
        Write(0x20, 8, queue.Descriptors);
        Write(0x28, 8, queue.Driver);
        Write(0x30, 8, queue.Device);
        Write(0x1C, 2, 1);
        return queue;
    }

    public void DriverOk() => Status = 15;

    public void Kick(int queue) => Write(Notify + (queue * 4), 2, (ulong)queue);

    /// <summary>Switches MSI-X on, each queue with a vector of its own behind the configuration's.</summary>
    public void UseMsix(int queues)
    {
        int at = (int)Config(0x34, 1);
        while (Config(at, 1) != 0x11)
            at = (int)Config(at + 1, 1);
        Config(at + 2, 2, 0x8000);
        for (int v = 0; v <= queues; v++)
        {
            Msix!.WriteMmio((ulong)v * 16, 8, 0xFEE0_0000);
            Msix!.WriteMmio(((ulong)v * 16) + 8, 4, 0x40u + (uint)v);
            Msix!.WriteMmio(((ulong)v * 16) + 12, 4, 0);
        }
        Write(0x10, 2, 0);
        for (int q = 0; q < queues; q++)
        {
            Write(0x16, 2, (ulong)q);
            Write(0x1A, 2, (ulong)q + 1);
        }
    }
}
