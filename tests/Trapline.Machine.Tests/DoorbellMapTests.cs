using Trapline.Core;
using Trapline.Host;

namespace Trapline.Machine.Tests;

/// <summary>A keeper has the doorbells of the devices that are on the buses now, wherever a guest moves them.</summary>
public sealed class DoorbellMapTests : IDisposable
{
    private readonly EventSet _events = new(1);
    private readonly DoorbellMap _map = new();
    private readonly PciAddressSpace _space;
    private readonly NotingKeeper _keeper = new();

    public DoorbellMapTests() => _space = new PciAddressSpace(new PortBus(1), new MmioBus(1), _map);

    public void Dispose() => _events.Dispose();

    [Fact]
    public void BellsFollowTheirDevice()
    {
        RingingDevice device = new(_events);
        _space.MapPorts(0xC000, 16, device);
        Assert.Equal(0, device.Asked); // nobody wanted them
        _map.Attach(_keeper);
        Assert.Equal(["port c008"], _keeper.Bells);
        _space.MapMemory(new Gpa(0xC000_0000), 0x1000, device);
        _space.UnmapPorts(0xC000, 16, device);
        Assert.Equal(["memory c0000008"], _keeper.Bells);
        _space.UnmapMemory(new Gpa(0xC000_0000), 0x1000, device);
        _space.MapMemory(new Gpa(0xD000_0000), 0x1000, device);
        Assert.Equal(["memory d0000008"], _keeper.Bells);
    }

    [Fact]
    public void ADeviceThatIsNotMappedHasNone()
    {
        RingingDevice first = new(_events), second = new(_events);
        _map.Attach(_keeper);
        _space.MapMemory(new Gpa(0xC000_0000), 0x1000, first);
        _space.MapMemory(new Gpa(0xC000_0800), 0x1000, second); // over the first: it stays away
        _space.UnmapMemory(new Gpa(0xC000_0800), 0x1000, second);
        Assert.Equal(["memory c0000008"], _keeper.Bells);
        Assert.Equal(0, second.Asked);
    }

    private sealed class NotingKeeper : IDoorbellKeeper
    {
        public List<string> Bells { get; } = [];

        public void Add(bool isPort, ulong address, in Doorbell bell) => Bells.Add(Text(isPort, address));

        public void Remove(bool isPort, ulong address, in Doorbell bell) => Assert.True(Bells.Remove(Text(isPort, address)));

        private static string Text(bool isPort, ulong address) => $"{(isPort ? "port" : "memory")} {address:x}";
    }

    private sealed class RingingDevice(EventSet events) : IPortDevice, IMmioDevice, IDoorbellDevice
    {
        public int Asked { get; private set; }

        public IEnumerable<Doorbell> Doorbells
        {
            get
            {
                Asked++;
                return [new Doorbell(8, 2, null, events[0])];
            }
        }

        public uint ReadPort(ushort offset, int size) => 0;

        public void WritePort(ushort offset, int size, uint value) { }

        public ulong ReadMmio(ulong offset, int size) => 0;

        public void WriteMmio(ulong offset, int size, ulong value) { }
    }
}
