using Trapline.Core;
using Trapline.Devices.Debug;
using Trapline.Devices.Firmware;
using Trapline.Devices.Ps2;

namespace Trapline.Devices.Tests.Debug;

public class DebugTests
{
    [Fact]
    public void SmallPorts()
    {
        var backend = new RecordingBackend();
        var console = new DebugConsole(backend);
        Assert.Equal(0xE9u, console.ReadPort(0, 1));
        console.WritePort(0, 1, 'A');
        Assert.Equal("A", backend.Text);
        int code = 0;
        var exit = new DebugExit(c => code = c);
        exit.WritePort(0, 1, 0x110);
        Assert.Equal(0x21, code);
        exit.WritePort(0, 4, 0x10);
        Assert.Equal(0x21, code);
        PanicEvents events = 0;
        var panic = new PvPanic(e => events = e);
        Assert.Equal(3u, panic.ReadPort(0, 1));
        panic.WritePort(0, 1, 1);
        Assert.Equal(PanicEvents.Panicked, events);
        var post = new PostCode();
        post.WritePort(0, 1, 0x77);
        Assert.Equal(0x77u, post.ReadPort(0, 1));
    }

    [Fact]
    public void ResetPorts()
    {
        int soft = 0, hard = 0, gates = 0;
        var a = new SystemControlPortA(() => soft++, _ => gates++);
        Assert.Equal(2u, a.ReadPort(0, 1));
        a.WritePort(0, 1, 2);
        Assert.Equal(0, soft + gates);
        a.WritePort(0, 1, 3);
        Assert.Equal(1, soft);
        a.WritePort(0, 1, 0);
        Assert.Equal(1, gates);
        var control = new ResetControl(full => _ = full ? hard++ : soft++);
        control.WritePort(0, 1, 2); // as Linux does: 2, then 6
        Assert.Equal(0, hard);
        control.WritePort(0, 1, 6);
        Assert.Equal(1, hard);
        control.WritePort(0, 1, 4);
        Assert.Equal(2, soft);
    }

    [Fact]
    public void TestDeviceLatchesLinesAndMemory()
    {
        var line = new RecordingLine();
        Gpa flushed = default;
        var device = new TestDevice([InterruptLine.Detached, line], g => flushed = g);
        device.LatchPorts.WritePort(0, 4, 0x12345678);
        device.LatchPorts.WritePort(1, 1, 0xFF);
        Assert.Equal(0x1234FF78u, device.LatchPorts.ReadPort(0, 4));
        Assert.Equal(0x1234u, device.LatchPorts.ReadPort(2, 2));
        device.FlushPorts.WritePort(0, 4, 0x12345);
        Assert.Equal(0x12000ul, flushed.Value);
        device.LinePorts.WritePort(1, 1, 1);
        Assert.True(line.Level);
        device.LinePorts.WritePort(1, 1, 0);
        Assert.False(line.Level);
        device.LinePorts.WritePort(20, 1, 1);
        device.Memory.WriteMmio(0xFFF, 8, 0x1122334455667788);
        Assert.Equal(0x33445566u, device.Memory.ReadMmio(0x1001, 4));
        var copy = new TestDevice([]);
        copy.Restore(device.Save());
        Assert.Equal(0x1122334455667788u, copy.Memory.ReadMmio(0xFFF, 8));
    }

    [Fact]
    public void KeyboardControllerAnswersItsProbes()
    {
        var irq1 = new RecordingLine();
        int resets = 0;
        var kbc = new I8042(irq1, InterruptLine.Detached, () => resets++);
        Assert.Equal(0u, kbc.CommandPort.ReadPort(0, 1) & 3);
        kbc.CommandPort.WritePort(0, 1, 0xAA);
        Assert.Equal(1u, kbc.CommandPort.ReadPort(0, 1) & 3);
        Assert.Equal(0x55u, kbc.DataPort.ReadPort(0, 1));
        Assert.Equal(0u, kbc.CommandPort.ReadPort(0, 1) & 3);
        kbc.CommandPort.WritePort(0, 1, 0x60);
        kbc.DataPort.WritePort(0, 1, 0x45);
        kbc.CommandPort.WritePort(0, 1, 0x20);
        Assert.True(irq1.Level);
        var copy = new I8042(InterruptLine.Detached, InterruptLine.Detached, () => { });
        copy.Restore(kbc.Save());
        Assert.Equal(0x45u, kbc.DataPort.ReadPort(0, 1));
        Assert.Equal(0x45u, copy.DataPort.ReadPort(0, 1));
        Assert.False(irq1.Level);
        kbc.CommandPort.WritePort(0, 1, 0xD3);
        kbc.DataPort.WritePort(0, 1, 0x5A);
        Assert.Equal(0x21u, kbc.CommandPort.ReadPort(0, 1) & 0x21);
        Assert.Equal(0x5Au, kbc.DataPort.ReadPort(0, 1));
        kbc.DataPort.WritePort(0, 1, 0xFF); // reset the keyboard that is not there
        Assert.Equal(0x40u, kbc.CommandPort.ReadPort(0, 1) & 0x40);
        Assert.Equal(0xFEu, kbc.DataPort.ReadPort(0, 1));
        kbc.CommandPort.WritePort(0, 1, 0xFE);
        Assert.Equal(1, resets);
    }

    [Fact]
    public void FwCfgReadsItemsAndTheDirectory()
    {
        var memory = new ArrayMemory(0x1000);
        var cfg = new FwCfg(memory);
        cfg.Add(FwCfgKey.CpuCount, (ushort)4);
        cfg.AddFile("etc/test", [1, 2, 3]);
        Assert.Equal("QEMU", ReadItem(cfg, 0, 4));
        cfg.WritePort(0, 2, 5);
        Assert.Equal(4u, cfg.ReadPort(1, 1));
        Assert.Equal(0u, cfg.ReadPort(1, 1));
        Assert.Equal(0u, cfg.ReadPort(1, 1));
        string directory = ReadItem(cfg, 0x19, 68);
        Assert.StartsWith("\0\0\0\u0001\0\0\0\u0003\0\u0020\0\0etc/test\0", directory, StringComparison.Ordinal);
        Assert.Equal("\u0001\u0002\u0003\0", ReadItem(cfg, 0x20, 4));
        Assert.Equal(0x554D4551u, cfg.ReadPort(4, 4));

        // DMA: select file 0x20, read eight bytes to 0x100; the descriptor is at 0x10.
        new byte[] { 0, 0x20, 0, 0x0A, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0 }.CopyTo(memory.Bytes, 0x10);
        Array.Fill(memory.Bytes, (byte)0xEE, 0x100, 16);
        cfg.WritePort(8, 4, 0x1000_0000);
        Assert.Equal([1, 2, 3, 0, 0, 0, 0, 0, 0xEE], memory.Bytes[0x100..0x109]);
        Assert.Equal([0, 0, 0, 0], memory.Bytes[0x10..0x14]);
        memory.Bytes[0x13] = 0x10; // writing is refused
        cfg.WritePort(8, 4, 0x1000_0000);
        Assert.Equal(1, memory.Bytes[0x13]);
        Probe.FuzzPorts(cfg, 14);
        Probe.AllocatesNothing(() =>
        {
            cfg.WritePort(0, 2, 5);
            cfg.ReadPort(1, 1);
            cfg.WritePort(8, 4, 0x1000_0000);
        });
    }

    private static string ReadItem(FwCfg cfg, uint key, int length)
    {
        cfg.WritePort(0, 2, key);
        return string.Concat(Enumerable.Range(0, length).Select(_ => (char)cfg.ReadPort(1, 1)));
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorAllocate()
    {
        var kbc = new I8042(InterruptLine.Detached, InterruptLine.Detached, () => { });
        var device = new TestDevice([new RecordingLine()]);
        IPortDevice[] all = [kbc.DataPort, kbc.CommandPort, device.LatchPorts, device.FlushPorts, device.LinePorts,
            new SystemControlPortA(() => { }), new ResetControl(_ => { }), new PvPanic(_ => { }), new DebugExit(_ => { })];
        foreach (IPortDevice ports in all)
        {
            Probe.FuzzPorts(ports, 32, () => kbc.DataPort.ReadPort(0, 1), rounds: 4000);
            Probe.AllocatesNothing(() =>
            {
                ports.WritePort(0, 1, 0x20);
                ports.ReadPort(0, 1);
            });
        }
        Probe.FuzzMmio(device.Memory, 0x1_0000);
    }
}
