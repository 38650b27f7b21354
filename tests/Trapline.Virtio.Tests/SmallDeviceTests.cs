using System.Buffers.Binary;
using System.Text;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Balloon;
using Trapline.Virtio.Console;
using Trapline.Virtio.Rng;

namespace Trapline.Virtio.Tests;

public sealed class SmallDeviceTests : IDisposable
{
    private const ulong DataAt = 0x2_0000;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);

    public void Dispose() => _memory.Dispose();

    private byte[] Bytes(ulong at, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_memory.TryRead(new Gpa(at), bytes));
        return bytes;
    }

    [Fact]
    public void TheHostsRandomNumbersFillWhatTheDriverOffers()
    {
        using VirtioRng device = new(_memory);
        DriverFunction driver = new(device, _memory);
        Assert.True(driver.Negotiate(VirtioFeatures.Version1));
        DriverQueue queue = driver.Queue(0, 0x4000);
        driver.DriverOk();
        queue.Add(new Buffer(DataAt, 16, true), new Buffer(DataAt + 0x1000, 16, true));
        driver.Kick(0);
        Assert.Equal(32u, queue.WaitUsed().Length);
        Assert.NotEqual(Bytes(DataAt, 16), Bytes(DataAt + 0x1000, 16));
        queue.Add(new Buffer(DataAt, 0x8_0000, true));
        driver.Kick(0);
        Assert.Equal(0x1_0000u, queue.WaitUsed().Length); // no request keeps the worker for long
    }

    [Fact]
    public void TheBalloonGivesPagesBack()
    {
        using VirtioBalloon device = new(_memory);
        DriverFunction driver = new(device, _memory);
        Assert.True(driver.Negotiate(VirtioFeatures.Version1 | (1ul << 5)));
        DriverQueue inflate = driver.Queue(0, 0x4000), report = driver.Queue(2, 0x8000);
        driver.DriverOk();
        device.SetTarget(3 << 12);
        Assert.True(SpinWait.SpinUntil(() => driver.Pin, 5000));
        Assert.Equal(3ul, driver.Read(DriverFunction.DeviceConfig, 4));
        Assert.True(_memory.TryWrite(new Gpa(0x4_0000), "full"u8));
        Assert.True(_memory.TryWrite(new Gpa(0x4_2000), "kept"u8));
        byte[] numbers = new byte[12];
        BinaryPrimitives.WriteUInt32LittleEndian(numbers, 0x41);
        BinaryPrimitives.WriteUInt32LittleEndian(numbers.AsSpan(4), 0x40);
        BinaryPrimitives.WriteUInt32LittleEndian(numbers.AsSpan(8), 0xFFFF_FFFF); // no memory: ignored
        Assert.True(_memory.TryWrite(new Gpa(DataAt), numbers));
        inflate.Add(new Buffer(DataAt, 12, false));
        driver.Kick(0);
        inflate.WaitUsed();
        Assert.Equal(new byte[4], Bytes(0x4_0000, 4));
        Assert.Equal("kept"u8, Bytes(0x4_2000, 4));
        Assert.Equal(0x2000, device.Released);
        driver.Write(DriverFunction.DeviceConfig + 4, 4, 2);
        Assert.Equal(0x2000ul, device.Actual);
        report.Add(new Buffer(0x4_2000, 0x1000, true), new Buffer(0x5_0000, 0x8000, true));
        driver.Kick(2);
        report.WaitUsed();
        Assert.Equal(new byte[4], Bytes(0x4_2000, 4));
        Assert.Equal(0xB000, device.Released);
    }

    private sealed class Line : ICharacterBackend
    {
        public StringBuilder Text { get; } = new();
        public ICharacterSink? Sink { get; private set; }

        public void Write(ReadOnlySpan<byte> data)
        {
            lock (Text)
                Text.Append(Encoding.ASCII.GetString(data));
        }

        public string Read()
        {
            lock (Text)
                return Text.ToString();
        }

        public void Connect(ICharacterSink sink) => Sink = sink;
    }

    [Fact]
    public void AConsoleTellsOfItsPortsAndCarriesTheirBytes()
    {
        Line first = new(), second = new();
        using VirtioConsole device = new(_memory, [new ConsolePortSpecification("org.one", first), new ConsolePortSpecification("two", second)]);
        DriverFunction driver = new(device, _memory);
        Assert.True(driver.Negotiate(VirtioFeatures.Version1 | 2));
        Assert.Equal(2ul, driver.Read(DriverFunction.DeviceConfig + 4, 4));
        DriverQueue[] queues = [.. Enumerable.Range(0, 6).Select(i => driver.Queue(i, 0x4000 + (0x2000ul * (ulong)i)))];
        driver.DriverOk();
        for (ulong i = 0; i < 12; i++)
            queues[2].Add(new Buffer(DataAt + (i * 0x100), 0x100, true));
        driver.Kick(2);
        Say(0xFFFF_FFFF, 0, 1); // the driver is ready
        Assert.Equal([(0, 1), (1, 1)], new[] { Hear(), Hear() }.Select(m => (m.Port, m.Event)));
        Say(1, 3, 1); // port 1 is
        Assert.Equal((1, 7, "two"), Hear());
        Assert.Equal((1, 6, ""), Hear());
        Assert.Equal(5, second.Sink!.Receive("typed"u8));
        queues[4].Add(new Buffer(DataAt + 0x2000, 3, true));
        queues[4].Add(new Buffer(DataAt + 0x3000, 64, true));
        driver.Kick(4);
        Assert.Null(queues[4].TakeUsed());
        Say(1, 6, 1); // a program has opened it
        Assert.Equal(3u, queues[4].WaitUsed().Length);
        Assert.Equal(2u, queues[4].WaitUsed().Length);
        Assert.Equal("typ"u8, Bytes(DataAt + 0x2000, 3));
        Assert.True(_memory.TryWrite(new Gpa(DataAt + 0x4000), "said"u8));
        queues[5].Add(new Buffer(DataAt + 0x4000, 4, false));
        driver.Kick(5);
        queues[5].WaitUsed();
        Assert.Equal("said", second.Read());
        Assert.Equal("", first.Read());

        void Say(uint port, ushort what, ushort value)
        {
            byte[] message = new byte[8];
            BinaryPrimitives.WriteUInt32LittleEndian(message, port);
            BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(4), what);
            BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(6), value);
            Assert.True(_memory.TryWrite(new Gpa(DataAt + 0x5000), message));
            queues[3].Add(new Buffer(DataAt + 0x5000, 8, false));
            driver.Kick(3);
            queues[3].WaitUsed();
        }

        (int Port, int Event, string Name) Hear()
        {
            (uint id, uint length) = queues[2].WaitUsed();
            byte[] message = Bytes(DataAt + (id * 0x100), (int)length);
            return (message[0], message[4], Encoding.ASCII.GetString(message, 8, (int)length - 8));
        }
    }

    [Fact]
    public void InputThatFindsNoRoomWaitsInTheBackEnd()
    {
        Line line = new();
        using VirtioConsole device = new(_memory, [new ConsolePortSpecification("", line, IsConsole: true)]);
        DriverFunction driver = new(device, _memory);
        Assert.True(driver.Negotiate(VirtioFeatures.Version1));
        DriverQueue input = driver.Queue(0, 0x4000);
        driver.DriverOk();
        byte[] much = new byte[20_000];
        int taken = line.Sink!.Receive(much);
        Assert.InRange(taken, 1, much.Length - 1);
        bool room = false;
        line.Sink.RoomAvailable += () => room = true;
        input.Add(new Buffer(DataAt, 0x1000, true));
        driver.Kick(0);
        Assert.Equal(0x1000u, input.WaitUsed().Length);
        Assert.True(SpinWait.SpinUntil(() => room, 5000));
    }
}
