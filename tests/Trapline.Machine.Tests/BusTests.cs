using Trapline.Core;

namespace Trapline.Machine.Tests;

public class BusTests
{
    private sealed class Log(string name, List<string> lines) : IPortDevice, IMmioDevice
    {
        public uint ReadPort(ushort offset, int size)
        {
            lines.Add($"{name} r{offset}/{size}");
            return 0x11223344u + offset;
        }

        public void WritePort(ushort offset, int size, uint value) => lines.Add($"{name} w{offset}/{size}={value:x}");

        public ulong ReadMmio(ulong offset, int size)
        {
            lines.Add($"{name} r{offset}/{size}");
            return 0x1122334455667788 + offset;
        }

        public void WriteMmio(ulong offset, int size, ulong value) => lines.Add($"{name} w{offset}/{size}={value:x}");
    }

    [Fact]
    public void NobodyThereReadsAsOnes()
    {
        PortBus ports = new(1);
        Assert.Equal(0xFFu, ports.Read(0, 0x1234, 1, out _, out _));
        Assert.Equal(0xFFFFu, ports.Read(0, 0x1234, 2, out _, out _));
        Assert.Equal(0xFFFFFFFFu, ports.Read(0, 0xFFFF, 4, out _, out _));
        ports.Write(0, 0xFFFF, 4, 0, out _, out _);
        MmioBus memory = new(1);
        Assert.Equal(ulong.MaxValue, memory.Read(0, ulong.MaxValue - 2, 8, out _));
        Assert.Equal(0xFFul, memory.Read(0, 0xFED0_0000, 1, out _));
        memory.Write(0, ulong.MaxValue, 8, 1, out _);
    }

    [Fact]
    public void AnAccessThatLeavesADeviceIsTakenApart()
    {
        List<string> lines = [];
        PortBus ports = new(1);
        ports.Add("a", new Log("a", lines), 0x10, 2);
        ports.Add("b", new Log("b", lines), 0x13, 1);
        Assert.Equal(0x44FF4544u, ports.Read(0, 0x10, 4, out _, out _));
        ports.Write(0, 0x11, 4, 0x04030201, out _, out _);
        ports.Read(0, 0x10, 2, out _, out _);
        Assert.Equal(["a r0/1", "a r1/1", "b r0/1", "a w1/1=1", "b w0/1=3", "a r0/2"], lines);
    }

    [Fact]
    public void ADeviceOverAnotherTakesItsBytesOnly()
    {
        // As the reset control at 0xCF9 lies over PCI's address port at 0xCF8.
        List<string> lines = [];
        PortBus ports = new(1);
        ports.Add("pci", new Log("pci", lines), 0xCF8, 4);
        PortBinding reset = ports.Add("reset", new Log("reset", lines), 0xCF9, 1);
        ports.Write(0, 0xCF8, 4, 1, out _, out _);
        ports.Write(0, 0xCF9, 1, 6, out _, out _);
        Assert.Equal(["pci w0/4=1", "reset w0/1=6"], lines);
        ports.Remove(reset);
        Assert.Null(ports.Find(0xCF9));
    }

    [Fact]
    public void MemoryDevicesAreFoundAndMayNotOverlap()
    {
        List<string> lines = [];
        MmioBus memory = new(1);
        memory.Add("hpet", new Log("hpet", lines), 0xFED0_0000, 0x400);
        MmioBinding ioApic = memory.Add("ioapic", new Log("ioapic", lines), 0xFEC0_0000, 0x1000);
        Assert.Throws<ArgumentException>(() => memory.Add("x", new Log("x", lines), 0xFEC0_0FFF, 2));
        memory.Read(0, 0xFEC0_0010, 4, out _);
        memory.Read(0, 0xFED0_03FC, 8, out _);
        Assert.Equal("ioapic r16/4", lines[0]);
        Assert.Equal("hpet r1020/1", lines[1]);
        Assert.Equal(5, lines.Count);
        Assert.False(memory.TryMove(ref ioApic, 0xFED0_0000));
        Assert.True(memory.TryMove(ref ioApic, 0xFEE0_0000));
        Assert.Null(memory.Find(0xFEC0_0000));
        Assert.NotNull(memory.Find(0xFEE0_0FFF));
    }

    [Fact]
    public void AccessesAllocateNothing()
    {
        PortBus ports = new(1);
        ports.Add("a", new Silent(), 0x10, 2);
        MmioBus memory = new(1);
        memory.Add("m", new Silent(), 0x1000, 0x1000);
        for (int round = 0; round < 2; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++)
            {
                ports.Read(0, 0x10, 1, out _, out _);
                ports.Write(0, 0x11, 4, 1, out _, out _);
                memory.Read(0, 0x1FFC, 8, out _);
                memory.Write(0, 0x1000, 4, 1, out _);
            }
            if (round == 1)
                Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
    }

    private sealed class Silent : IPortDevice, IMmioDevice
    {
        public uint ReadPort(ushort offset, int size) => 0;
        public void WritePort(ushort offset, int size, uint value) { }
        public ulong ReadMmio(ulong offset, int size) => 0;
        public void WriteMmio(ulong offset, int size, ulong value) { }
    }
}
