using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Transport;

namespace Trapline.Virtio.Tests;

public sealed class MmioTransportTests : IDisposable
{
    private const ulong From = 0x1_0000, To = 0x1_1000;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);
    private readonly EchoDevice _device;
    private readonly Line _line = new();
    private readonly VirtioMmio _registers;

    private sealed class Line : InterruptLine
    {
        public volatile bool Level;
        public override void Set(bool level) => Level = level;
    }

    public MmioTransportTests()
    {
        _device = new EchoDevice(_memory);
        _registers = new VirtioMmio(_device, _line);
        _device.Run();
    }

    public void Dispose()
    {
        _device.Dispose();
        _memory.Dispose();
    }

    private uint Read(int offset) => (uint)_registers.ReadMmio((ulong)offset, 4);

    private void Write(int offset, ulong value) => _registers.WriteMmio((ulong)offset, 4, value & uint.MaxValue);

    private DriverQueue Start()
    {
        Write(0x70, 0);
        Write(0x70, 3);
        Write(0x24, 1);
        Write(0x20, 1 | (1 << 8)); // version 1, queue reset
        Write(0x70, 11);
        Assert.Equal(11u, Read(0x70));
        DriverQueue queue = new(_memory, 0x4000, 16, packed: false);
        Write(0x30, 0);
        Write(0x38, 16);
        Write(0x80, queue.Descriptors);
        Write(0x90, queue.Driver);
        Write(0xA0, queue.Device);
        Write(0x44, 1);
        Assert.Equal(1u, Read(0x44));
        Write(0x70, 15);
        return queue;
    }

    [Fact]
    public void ADriverFindsNegotiatesAndIsServed()
    {
        Assert.Equal([0x7472_6976u, 2, VirtioTypes.Entropy], new[] { Read(0), Read(4), Read(8) });
        DriverQueue queue = Start();
        Assert.True(_memory.TryWrite(new Gpa(From), "over"u8));
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        Write(0x50, 0);
        Assert.Equal(4u, queue.WaitUsed().Length);
        Assert.True(SpinWait.SpinUntil(() => _line.Level, 5000));
        Assert.Equal(1u, Read(0x60));
        Write(0x64, 1);
        Assert.False(_line.Level);
        queue.Publish(99);
        Write(0x50, 0);
        Assert.True(SpinWait.SpinUntil(() => (Read(0x70) & 64) != 0, 5000));
        Assert.True(SpinWait.SpinUntil(() => Read(0x60) == 2, 5000));
        Write(0x70, 0);
        Assert.Equal(0u, Read(0x70));
        Assert.False(_line.Level);
    }

    [Fact]
    public async Task AResetIsDoneWhenTheWriteReturns()
    {
        DriverQueue queue = Start();
        _device.AtDoor = new CountdownEvent(1);
        _device.Door.Reset();
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        Write(0x50, 0);
        Assert.True(_device.AtDoor.Wait(5000));
        Task reset = Task.Run(() => Write(0x70, 0));
        await Task.Delay(50);
        Assert.False(reset.IsCompleted);
        _device.AtDoor = null;
        _device.Door.Set();
        await reset.WaitAsync(TimeSpan.FromSeconds(5));
        Assert.Equal(0u, Read(0x70));
    }

    [Fact]
    public void RegistersAreSavedAndRandomAccessesDoNoHarm()
    {
        Start();
        Write(0x14, 1);
        VirtioMmioState state = _registers.Save();
        using EchoDevice other = new(_memory);
        VirtioMmio registers = new(other, _line);
        registers.Restore(state);
        Assert.Equal(state, registers.Save());
        Random random = new(2);
        int[] sizes = [1, 2, 4, 8];
        for (int i = 0; i < 50_000; i++)
            _registers.WriteMmio((ulong)random.Next(0x200), sizes[random.Next(4)], (ulong)random.Next(32));
        Start();
    }
}
