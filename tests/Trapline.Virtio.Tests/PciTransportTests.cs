using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Virtio.Tests;

public sealed class PciTransportTests : IDisposable
{
    private const ulong Common = VirtioFeatures.Version1 | VirtioFeatures.IndirectDescriptors;
    private const ulong From = 0x1_0000, To = 0x1_1000;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);
    private readonly EchoDevice _device;
    private readonly DriverFunction _driver;

    public PciTransportTests()
    {
        _device = new EchoDevice(_memory);
        _driver = new DriverFunction(_device, _memory);
    }

    public void Dispose()
    {
        _device.Dispose();
        _memory.Dispose();
    }

    [Fact]
    public void TheIdentityAndStructuresAreThoseOfATransitionalFunction()
    {
        Assert.Equal(0x1005_1AF4u, _driver.Config(0, 4));
        Assert.Equal(VirtioTypes.Entropy, _driver.Config(0x2E, 2));
        List<(uint Type, uint Bar, uint Offset, uint Length)> structures = [];
        for (uint at = _driver.Config(0x34, 1); at != 0; at = _driver.Config((int)at + 1, 1))
        {
            if (_driver.Config((int)at, 1) == 9)
                structures.Add((_driver.Config((int)at + 3, 1), _driver.Config((int)at + 4, 1), _driver.Config((int)at + 8, 4), _driver.Config((int)at + 12, 4)));
        }
        Assert.Equal([1u, 3, 4, 2, 5], structures.Select(s => s.Type));
        Assert.All(structures.Take(4), s => Assert.Equal(4u, s.Bar));
        Assert.Equal(0x40u, structures[0].Length);
    }

    [Fact]
    public void FeaturesOkIsRefusedForWhatIsNotOfferedAndWithoutVersion1()
    {
        Assert.True(_driver.Negotiate(Common));
        Assert.False(_driver.Negotiate(Common | (1ul << 50)));
        Assert.Equal(3, _driver.Status);
        Assert.False(_driver.Negotiate(VirtioFeatures.IndirectDescriptors));
        // Without the bit the device is not started, whatever the driver says.
        _driver.DriverOk();
        Assert.Equal(0, _driver.Status & 8);
        DriverQueue queue = _driver.Queue(0, 0x4000);
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        _device.Stand();
        Assert.Null(queue.TakeUsed());
    }

    [Fact]
    public void FeaturesDoNotChangeOnceTheyAreAgreed()
    {
        Assert.True(_driver.Negotiate(Common));
        _driver.Write(8, 4, 0);
        _driver.Write(12, 4, 0);
        Assert.True(_device.Has(VirtioFeatures.IndirectDescriptors));
        Assert.Equal(VirtioFeatures.Common, _driver.Offered);
    }

    [Fact]
    public void EachQueueHasItsVector()
    {
        Assert.True(_driver.Negotiate(Common));
        _driver.UseMsix(2);
        DriverQueue first = _driver.Queue(0, 0x4000), second = _driver.Queue(1, 0x8000);
        _driver.DriverOk();
        first.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        Assert.True(SpinWait.SpinUntil(() => _driver.Messages == 1, 5000));
        Assert.Equal(0x41u, _driver.LastMessage.Data);
        second.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(1);
        Assert.True(SpinWait.SpinUntil(() => _driver.Messages == 2, 5000));
        Assert.Equal(0x42u, _driver.LastMessage.Data);
        Assert.False(_driver.Pin);
        _driver.Write(0x16, 2, 1);
        _driver.Write(0x1A, 2, 3); // there is no such vector
        Assert.Equal(0xFFFFul, _driver.Read(0x1A, 2));
        second.Publish(77);
        _driver.Kick(1);
        Assert.True(SpinWait.SpinUntil(() => _driver.Messages == 3, 5000));
        Assert.Equal(0x40u, _driver.LastMessage.Data); // the configuration's: the device needs a reset
    }

    /// <summary>A fault of ours is told, fails the device alone, and a reset mends it.</summary>
    [Fact]
    public void AWorkerThatThrowsFailsItsDevice()
    {
        using SemaphoreSlim told = new(0);
        string? what = null;
        _device.Faulted = (device, fault) =>
        {
            what = $"{device.Name}: {fault.Message}";
            told.Release();
        };
        Assert.True(_driver.Negotiate(Common));
        DriverQueue queue = _driver.Queue(0, 0x4000);
        _driver.DriverOk();
        _device.Fault = new InvalidOperationException("the test's fault");
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        Assert.True(told.Wait(5000));
        Assert.Equal("echo: the test's fault", what);
        Assert.Equal(0x40, _driver.Status & 0x40);
        _device.Fault = null;
        Assert.True(_driver.Negotiate(Common));
        queue = _driver.Queue(0, 0x8000);
        _driver.DriverOk();
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        queue.WaitUsed();
    }

    /// <summary>A bell does what a notification does, and one may follow the other.</summary>
    [Fact]
    public void AQueuesBellWakesAWorker()
    {
        Assert.True(_driver.Negotiate(Common));
        DriverQueue queue = _driver.Queue(0, 0x4000);
        _driver.DriverOk();
        using FileStream bell = new(new Microsoft.Win32.SafeHandles.SafeFileHandle(_device.Bell(0).DangerousGetHandle(), ownsHandle: false), FileAccess.Write, 0);
        for (int i = 0; i < 1000; i++)
        {
            queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
            if (i % 3 == 0)
                _driver.Kick(0);
            else
                bell.Write(BitConverter.GetBytes(1ul));
            queue.WaitUsed();
        }
        Assert.Equal(1000, _device.Requests);
    }

    [Fact]
    public void ConfigurationSpaceHasAWindowOnTheRegisters()
    {
        int at = (int)_driver.Config(0x34, 1);
        while (_driver.Config(at, 1) != 9 || _driver.Config(at + 3, 1) != 5)
            at = (int)_driver.Config(at + 1, 1);
        _driver.Config(at + 4, 1, 4);
        _driver.Config(at + 8, 4, 0x14);
        _driver.Config(at + 12, 4, 1);
        _driver.Config(at + 16, 4, 1);
        Assert.Equal(1, _driver.Status);
        Assert.Equal(1u, _driver.Config(at + 16, 1));
        _driver.Config(at + 16, 4, 0);
        Assert.Equal(0, _driver.Status);
        _driver.Config(at + 8, 4, 0xFFFF_FFF0); // outside: nothing happens
        _driver.Config(at + 12, 4, 4);
        _driver.Config(at + 16, 4, 1);
        Assert.Equal(0, _driver.Status);
    }

    [Fact]
    public void ALegacyDriverFindsItsPorts()
    {
        IPortDevice ports = _driver.Legacy!;
        ports.WritePort(18, 1, 0);
        ports.WritePort(18, 1, 3);
        Assert.Equal((uint)(VirtioFeatures.Common & uint.MaxValue), ports.ReadPort(0, 4));
        ports.WritePort(4, 4, (uint)VirtioFeatures.IndirectDescriptors);
        ports.WritePort(14, 2, 0);
        Assert.Equal(16u, ports.ReadPort(12, 2));
        ports.WritePort(8, 4, 4); // page 4
        DriverQueue queue = new(_memory, 0x4000, 16, packed: false);
        ports.WritePort(18, 1, 7);
        Assert.Equal(7u, ports.ReadPort(18, 1));
        _memory.TryWrite(new Gpa(From), "past"u8);
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        ports.WritePort(16, 2, 0);
        queue.WaitUsed();
        Assert.True(SpinWait.SpinUntil(() => _driver.Pin, 5000));
        Assert.Equal(1u, ports.ReadPort(19, 1));
        Assert.False(_driver.Pin);
        ports.WritePort(18, 1, 0);
        Assert.Equal(0u, ports.ReadPort(18, 1));
        Assert.Equal(0u, ports.ReadPort(8, 4));
    }

    [Fact]
    public void RandomAccessesNeitherThrowNorBreakMoreThanTheDevice()
    {
        Random random = new(1);
        int[] sizes = [1, 2, 4, 8];
        for (int i = 0; i < 100_000; i++)
        {
            int size = sizes[random.Next(4)];
            ulong offset = (ulong)random.Next(random.Next(4) == 0 ? 0x4000 : 0x40);
            if (random.Next(3) == 0)
                _driver.Modern!.ReadMmio(offset, size);
            else
                _driver.Modern!.WriteMmio(offset, size, random.Next(2) == 0 ? (ulong)random.Next(20) : (ulong)random.NextInt64());
            if (random.Next(4) == 0)
                _driver.Legacy?.WritePort((ushort)random.Next(128), Math.Min(size, 4), (uint)random.Next(16));
        }
        Assert.True(_driver.Negotiate(Common));
    }
}
