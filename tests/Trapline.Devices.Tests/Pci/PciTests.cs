using Trapline.Core;
using Trapline.Devices.Pci;

namespace Trapline.Devices.Tests.Pci;

public class PciTests
{
    private sealed class Space : IPciAddressSpace
    {
        public string Log { get; set; } = "";
        public void MapPorts(ushort port, int count, IPortDevice device) => Log += $"+p{port:x}/{count:x} ";
        public void UnmapPorts(ushort port, int count, IPortDevice device) => Log += $"-p{port:x} ";
        public void MapMemory(Gpa address, ulong length, IMmioDevice device) => Log += $"+m{address.Value:x}/{length:x} ";
        public void UnmapMemory(Gpa address, ulong length, IMmioDevice device) => Log += $"-m{address.Value:x} ";
    }

    private sealed class Nothing : IMmioDevice, IPortDevice
    {
        public ulong ReadMmio(ulong offset, int size) => 0;
        public uint ReadPort(ushort offset, int size) => 0;
        public void WriteMmio(ulong offset, int size, ulong value) { }
        public void WritePort(ushort offset, int size, uint value) { }
    }

    private readonly Space _space = new();
    private readonly RecordingLine _line = new();
    private readonly RecordingMsiSink _msi = new();
    private readonly PciFunction _function = Make();
    private readonly MsiCapability _msiCapability;
    private readonly MsixCapability _msix;
    private readonly PciBus _bus;
    private readonly PciMechanism1 _mechanism;

    public PciTests()
    {
        _msiCapability = new MsiCapability(_function, _msi, vectorsLog2: 2);
        _msix = new MsixCapability(_function, _msi, bar: 4, vectors: 3);
        _bus = new PciBus(_space, (_, _) => _line);
        _bus.Add(0, 0, new HostBridge());
        _bus.Add(1, 0, new IsaBridge());
        _bus.Add(3, 0, _function);
        _mechanism = new PciMechanism1(_bus);
    }

    private static PciFunction Make()
    {
        var function = new PciFunction(new PciIdentity(0x1AF4, 0x1041, 0x020000, 1, 0x1AF4, 0x40), pin: 1);
        function.AddPortBar(0, 32, new Nothing());
        function.AddMemoryBar(1, 0x1000, new Nothing());
        function.AddMemoryBar(2, 0x4000, new Nothing(), is64Bit: true, prefetchable: true);
        return function;
    }

    private uint Read(int device, int register, int size = 4)
    {
        _mechanism.AddressPorts.WritePort(0, 4, 0x8000_0000 | ((uint)device << 11) | ((uint)register & 0xFC));
        return _mechanism.DataPorts.ReadPort((ushort)(register & 3), size);
    }

    private void Write(int device, int register, uint value, int size = 4)
    {
        _mechanism.AddressPorts.WritePort(0, 4, 0x8000_0000 | ((uint)device << 11) | ((uint)register & 0xFC));
        _mechanism.DataPorts.WritePort((ushort)(register & 3), size, value);
    }

    [Fact]
    public void BothMechanismsReachTheSameRegisters()
    {
        Assert.Equal(0x0008_1B36u, Read(0, 0));
        Assert.Equal(0x0601_0000u, Read(1, 8));
        Assert.Equal(0x0200u, Read(3, 0x0A, 2));
        Assert.Equal(uint.MaxValue, Read(2, 0));
        var ecam = new PciEcam(_bus, 2);
        Assert.Equal(0x1041_1AF4u, ecam.ReadMmio(3 << 15, 4));
        Assert.Equal(0u, ecam.ReadMmio((3 << 15) | 0x100, 4));
        Assert.Equal(uint.MaxValue, ecam.ReadMmio(1 << 20, 4));
        ecam.WriteMmio((3 << 15) | 0x3C, 1, 11);
        Assert.Equal(0x010Bu, Read(3, 0x3C, 2));
        Write(3, 0, 0);
        Assert.Equal(0x1041_1AF4u, Read(3, 0));
        Assert.Equal(uint.MaxValue, _mechanism.AddressPorts.ReadPort(1, 1));
    }

    [Fact]
    public void SizingAndMappingOfBars()
    {
        foreach (int bar in new[] { 0x10, 0x14, 0x18, 0x1C })
            Write(3, bar, uint.MaxValue);
        Assert.Equal([0xFFFF_FFE1u, 0xFFFF_F000u, 0xFFFF_C00Cu, 0xFFFF_FFFFu, 0u],
            new[] { 0x10, 0x14, 0x18, 0x1C, 0x24 }.Select(r => Read(3, r)));
        Write(3, 4, 3, 2);
        Assert.Equal("", _space.Log); // the sizing pattern maps nothing
        Write(3, 0x10, 0xC000);
        Write(3, 0x14, 0xFEB0_0000);
        Write(3, 0x18, 0x8000_0000);
        Write(3, 0x1C, 0x10);
        Assert.StartsWith("+pc000/20 +mfeb00000/1000 ", _space.Log, StringComparison.Ordinal);
        Assert.EndsWith("+m1080000000/4000 ", _space.Log, StringComparison.Ordinal);
        _space.Log = "";
        Write(3, 0x14, 0xFEC0_0000);
        Write(3, 4, 1, 2);
        Assert.Equal("-mfeb00000 +mfec00000/1000 -mfec00000 -m1080000000 ", _space.Log);
        PciFunctionState state = _function.Save();
        _bus.Reset();
        Assert.EndsWith("-pc000 ", _space.Log, StringComparison.Ordinal);
        _function.Restore(state);
        Assert.EndsWith("+pc000/20 ", _space.Log, StringComparison.Ordinal);
    }

    [Fact]
    public void TheInterruptPinHonoursItsDisableBit()
    {
        _function.SetInterrupt(true);
        Assert.True(_line.Level);
        Assert.Equal(8u, Read(3, 6, 2) & 8);
        Write(3, 4, 0x400, 2);
        Assert.False(_line.Level);
        Write(3, 4, 0, 2);
        Assert.True(_line.Level);
        _function.SetInterrupt(false);
        Assert.False(_line.Level);
    }

    [Fact]
    public void CapabilitiesFormAListAndSlotsBecomeMultiFunction()
    {
        Assert.Equal(0x10u, Read(3, 6, 2) & 0x10);
        uint first = Read(3, 0x34, 1);
        Assert.Equal(5u, Read(3, (int)first, 1));
        uint second = Read(3, (int)first + 1, 1);
        Assert.Equal(0x11u, Read(3, (int)second, 1));
        Assert.Equal(0u, Read(3, (int)second + 1, 1));
        _bus.Add(3, 1, new PciFunction(new PciIdentity(1, 2, 0xFF0000)));
        Assert.Equal(0x80u, Read(3, 0x0E, 1));
    }

    [Fact]
    public void MsiSendsMasksAndRemembers()
    {
        int at = (int)Read(3, 0x34, 1);
        _msiCapability.Signal(0);
        Assert.Equal(0, _msi.Count);
        Write(3, at + 4, 0xFEE0_1000);
        Write(3, at + 12, 0x4040, 2);
        Write(3, at + 2, 0x21, 2); // four vectors, enabled
        _msiCapability.Signal(2);
        Assert.Equal(new MsiMessage(0xFEE0_1000, 0x4042), _msi.Last);
        Write(3, at + 16, 2);
        _msiCapability.Signal(1);
        Assert.Equal(1, _msi.Count);
        Assert.Equal(2u, Read(3, at + 20));
        Write(3, at + 16, 0);
        Assert.Equal(2, _msi.Count);
        Assert.Equal(0u, Read(3, at + 20));
    }

    [Fact]
    public void MsixTableMasksAndPendingBits()
    {
        int at = (int)Read(3, (int)Read(3, 0x34, 1) + 1, 1);
        Assert.Equal(2u, Read(3, at + 2, 2));
        Write(3, at + 2, 0x8000, 2);
        _msix.WriteMmio(16, 8, 0xFEE0_2000);
        _msix.WriteMmio(24, 4, 0x55);
        _msix.Signal(1);
        Assert.Equal(0, _msi.Count);
        Assert.Equal(2u, _msix.ReadMmio(0x800, 8));
        var copy = new MsixCapability(Make(), _msi, 4, 3);
        copy.Restore(_msix.Save());
        Assert.Equal(2u, copy.ReadMmio(0x800, 4));
        _msix.WriteMmio(28, 4, 0);
        Assert.Equal(new MsiMessage(0xFEE0_2000, 0x55), _msi.Last);
        Assert.Equal(0u, _msix.ReadMmio(0x800, 8));
        Write(3, at + 2, 0xC000, 2);
        _msix.Signal(1);
        Assert.Equal(1, _msi.Count);
        Write(3, at + 2, 0x8000, 2);
        Assert.Equal(2, _msi.Count);
        _msix.Signal(99);
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        var quiet = new PciBus();
        quiet.Add(0, 0, new HostBridge());
        PciFunction function = Make();
        var msix = new MsixCapability(function, _msi, 4, 70);
        quiet.Add(1, 0, function);
        Probe.FuzzMmio(new PciEcam(quiet, 1), 0x1_0000, () => msix.Signal(3));
        Probe.FuzzMmio(msix, 0x2000, () => msix.Signal(69));
        Probe.FuzzPorts(_mechanism.DataPorts, 6);
        Probe.FuzzPorts(_mechanism.AddressPorts, 6);
        Probe.AllocatesNothing(() =>
        {
            Read(3, 0);
            Write(3, 0x3C, 5, 1);
            function.SetInterrupt(true);
        });
    }
}
