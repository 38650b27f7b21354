using System.Text;
using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Virtio.Tests;

public sealed class QueueTests : IDisposable
{
    private const ulong Common = VirtioFeatures.Common & ~(VirtioFeatures.RingPacked | VirtioFeatures.EventIndex);
    private const ulong QueueAt = 0x4000, From = 0x1_0000, To = 0x1_1000, TableAt = 0x1_2000;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);
    private readonly EchoDevice _device;
    private readonly DriverFunction _driver;

    public QueueTests()
    {
        _device = new EchoDevice(_memory);
        _driver = new DriverFunction(_device, _memory);
    }

    public void Dispose()
    {
        _device.Dispose();
        _memory.Dispose();
    }

    private DriverQueue Start(bool packed, ulong more = 0, ushort size = 16)
    {
        Assert.True(_driver.Negotiate(Common | more | (packed ? VirtioFeatures.RingPacked : 0)));
        DriverQueue queue = _driver.Queue(0, QueueAt, size, packed);
        Assert.Equal(1ul, _driver.Read(0x1C, 2));
        _driver.DriverOk();
        return queue;
    }

    private string Text(ulong at, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_memory.TryRead(new Gpa(at), bytes));
        return Encoding.ASCII.GetString(bytes);
    }

    private void Text(ulong at, string text) => Assert.True(_memory.TryWrite(new Gpa(at), Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData(false, 16)]
    [InlineData(true, 16)]
    [InlineData(true, 7)] // packed rings need no power of two (virtio 1.2, 2.8.10.1)
    public void RequestsOfAnyCutGoRoundTheRingManyTimes(bool packed, int size)
    {
        DriverQueue queue = Start(packed, size: (ushort)size);
        for (int i = 0; i < 200; i++)
        {
            string text = $"request {i:d5}";
            Text(From, text);
            Text(To, "..............");
            uint cut = (uint)(i % text.Length);
            ushort id = queue.Add(new Buffer(From, cut, false), new Buffer(From + cut, (uint)text.Length - cut, false), new Buffer(To, 4, true), new Buffer(To + 4, 40, true));
            _driver.Kick(0);
            Assert.Equal((id, (uint)text.Length), queue.WaitUsed());
            Assert.Equal(text, Text(To, text.Length));
        }
        Assert.Equal(15, _driver.Status);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void IndirectTablesHoldWholeRequests(bool packed)
    {
        DriverQueue queue = Start(packed);
        for (int i = 0; i < 50; i++)
        {
            Text(From, $"table {i:d4}");
            ushort id = queue.AddIndirect(TableAt, new Buffer(From, 6, false), new Buffer(From + 6, 4, false), new Buffer(To, 10, true));
            _driver.Kick(0);
            Assert.Equal((id, 10u), queue.WaitUsed());
            Assert.Equal($"table {i:d4}", Text(To, 10));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WithEventIndicesInterruptsComeWhenAskedFor(bool packed)
    {
        DriverQueue queue = Start(packed, VirtioFeatures.EventIndex);
        queue.WantInterruptAfter(packed ? 4 : 2); // not before the third; packed rings count descriptors
        for (int i = 0; i < 3; i++)
        {
            Assert.False(_driver.Pin);
            queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
            _driver.Kick(0);
            queue.WaitUsed();
        }
        Assert.True(SpinWait.SpinUntil(() => _driver.Pin, 5000));
        Assert.Equal(1ul, _driver.Read(DriverFunction.InterruptStatus, 1));
        Assert.False(_driver.Pin);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ADriverThatWantsNoInterruptsGetsNone(bool packed)
    {
        DriverQueue queue = Start(packed);
        queue.SetInterrupts(false);
        for (int i = 0; i < 5; i++)
        {
            queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
            _driver.Kick(0);
            queue.WaitUsed();
        }
        _device.Stand(); // the worker is through with the last one
        Assert.False(_driver.Pin);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ServingARequestAllocatesNothing(bool packed)
    {
        DriverQueue queue = Start(packed, VirtioFeatures.EventIndex);
        for (int i = 0; i < 300; i++)
        {
            queue.AddIndirect(TableAt, new Buffer(From, 64, false), new Buffer(To, 64, true));
            _driver.Kick(0);
            queue.WaitUsed();
        }
        Assert.Equal(_device.Allocated.First, _device.Allocated.Last);
    }

    [Fact]
    public void NotifyingAllocatesNothing()
    {
        Start(packed: false);
        _driver.Kick(0);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            _driver.Kick(0);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    public static TheoryData<string> Offences =>
    [
        "loop", "head outside", "next outside", "too many available", "memory outside", "length wraps", "ends in a hole", "read behind write",
        "indirect without a table", "indirect odd", "indirect and next", "nested table", "table outside", "table loop",
    ];

    [Theory]
    [MemberData(nameof(Offences))]
    public void ASplitRingsDriverThatBreaksTheRulesMustReset(string offence)
    {
        DriverQueue queue = Start(packed: false);
        const ushort next = 1, write = 2, indirect = 4;
        ulong d = queue.Descriptors;
        queue.Put(d, new Buffer(From, 4, false), 0, 0);
        queue.Put(TableAt, new Buffer(From, 4, false), 0, 0);
        switch (offence)
        {
            case "loop":
                queue.Put(d, new Buffer(From, 4, false), next, 1);
                queue.Put(d + 16, new Buffer(From, 4, false), next, 0);
                break;
            case "head outside":
                queue.Publish(16);
                break;
            case "next outside":
                queue.Put(d, new Buffer(From, 4, false), next, 999);
                break;
            case "too many available":
                queue.Put16(queue.Driver + 2, 17);
                break;
            case "memory outside":
                queue.Put(d, new Buffer(1ul << 40, 4, false), 0, 0);
                break;
            case "length wraps":
                queue.Put(d, new Buffer(ulong.MaxValue - 1, 4, true), write, 0);
                break;
            case "ends in a hole":
                queue.Put(d, new Buffer((1 << 20) - 4, 8, true), write, 0);
                break;
            case "read behind write":
                queue.Put(d, new Buffer(To, 4, true), write | next, 1);
                queue.Put(d + 16, new Buffer(From, 4, false), 0, 0);
                break;
            case "indirect without a table":
                queue.Put(d, new Buffer(TableAt, 0, false), indirect, 0);
                break;
            case "indirect odd":
                queue.Put(d, new Buffer(TableAt, 24, false), indirect, 0);
                break;
            case "indirect and next":
                queue.Put(d, new Buffer(TableAt, 16, false), indirect | next, 1);
                break;
            case "nested table":
                queue.Put(TableAt, new Buffer(TableAt, 16, false), indirect, 0);
                queue.Put(d, new Buffer(TableAt, 16, false), indirect, 0);
                break;
            case "table outside":
                queue.Put(d, new Buffer((1 << 20) - 16, 32, false), indirect, 0);
                break;
            case "table loop":
                queue.Put(TableAt, new Buffer(From, 4, false), next, 0);
                queue.Put(d, new Buffer(TableAt, 16, false), indirect, 0);
                break;
        }
        if (offence is not ("head outside" or "too many available"))
            queue.Publish(0);
        MustResetAndRecovers(packed: false);
    }

    [Theory]
    [InlineData("endless")]
    [InlineData("memory outside")]
    [InlineData("read behind write")]
    [InlineData("indirect behind another")]
    [InlineData("table outside")]
    public void APackedRingsDriverThatBreaksTheRulesMustReset(string offence)
    {
        DriverQueue queue = Start(packed: true);
        const ushort next = 1, write = 2, indirect = 4, available = 1 << 7;
        ulong d = queue.Descriptors;
        switch (offence)
        {
            case "endless":
                for (ulong i = 16; i-- > 0;)
                    queue.Put(d + (16 * i), new Buffer(From, 4, false), 0, next | available);
                break;
            case "memory outside":
                queue.Put(d, new Buffer(1 << 20, 4, false), 0, available);
                break;
            case "read behind write":
                queue.Put(d + 16, new Buffer(From, 4, false), 0, available);
                queue.Put(d, new Buffer(To, 4, true), 0, next | write | available);
                break;
            case "indirect behind another":
                queue.Put(d + 16, new Buffer(TableAt, 16, false), 0, indirect | available);
                queue.Put(d, new Buffer(From, 4, false), 0, next | available);
                break;
            case "table outside":
                queue.Put(d, new Buffer((1 << 20) - 16, 32, false), 0, indirect | available);
                break;
        }
        MustResetAndRecovers(packed: true);
    }

    private void MustResetAndRecovers(bool packed)
    {
        _driver.Kick(0);
        Assert.True(SpinWait.SpinUntil(() => (_driver.Status & 64) != 0, 5000), "DEVICE_NEEDS_RESET is not set");
        Assert.True(SpinWait.SpinUntil(() => _driver.Pin, 5000));
        Assert.Equal(2ul, _driver.Read(DriverFunction.InterruptStatus, 1)); // a change of configuration
        long served = _device.Requests;
        _driver.Kick(0);
        Assert.NotEqual(0, _driver.Status & 64);
        Assert.Equal(served, _device.Requests);
        _memory.TryWrite(new Gpa(QueueAt), new byte[0x2000]); // as a driver does
        DriverQueue again = Start(packed);
        Text(From, "back");
        again.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        again.WaitUsed();
        Assert.Equal("back", Text(To, 4));
    }

    [Theory]
    [InlineData(0x4008ul, 16)]       // not aligned
    [InlineData(0xF_FF00ul, 16)]     // over the end
    [InlineData(1ul << 50, 16)]
    [InlineData(0x4000ul, 12)]       // no power of two
    [InlineData(0x4000ul, 0)]
    public void AQueueThatCannotBeIsNotEnabled(ulong start, int size)
    {
        Assert.True(_driver.Negotiate(Common));
        _driver.Queue(0, start, (ushort)Math.Max(size, 1));
        Assert.True(size != 0 || _driver.Read(0x1C, 2) == 1);
        if (size != 0)
        {
            Assert.Equal(0ul, _driver.Read(0x1C, 2));
            Assert.Equal(64, _driver.Status & 64);
        }
    }

    [Fact]
    public void AResetWaitsForTheWorkerAndThenTouchesNothing()
    {
        DriverQueue queue = Start(packed: false);
        _device.AtDoor = new CountdownEvent(1);
        _device.Door.Reset();
        Text(From, "late");
        Text(To, "old.");
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        Assert.True(_device.AtDoor.Wait(5000));
        _driver.Status = 0;
        Assert.NotEqual(0, _driver.Status); // 2.1: reads 0 when the reset is done
        _device.AtDoor = null;
        _device.Door.Set();
        Assert.True(SpinWait.SpinUntil(() => _driver.Status == 0, 5000));
        Text(To, "new.");
        _device.Stand();
        Assert.Equal("new.", Text(To, 4));
    }

    [Fact]
    public void OneQueueIsResetAloneAndTakenIntoUseAgain()
    {
        DriverQueue first = Start(packed: false);
        DriverQueue second = _driver.Queue(1, 0x8000);
        first.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        first.WaitUsed();
        _driver.Write(0x16, 2, 0);
        _driver.Write(0x3A, 2, 1);
        Assert.True(SpinWait.SpinUntil(() => _driver.Read(0x3A, 2) == 0, 5000));
        Assert.Equal(0ul, _driver.Read(0x1C, 2));
        second.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(1);
        second.WaitUsed();
        _memory.TryWrite(new Gpa(QueueAt), new byte[0x2000]);
        DriverQueue again = _driver.Queue(0, QueueAt, 8);
        Assert.Equal(8ul, _driver.Read(0x18, 2));
        again.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        again.WaitUsed();
        Assert.Equal(15, _driver.Status);
    }

    [Fact]
    public void AMachineThatStandsIsServedWhenItRunsAgain()
    {
        DriverQueue queue = Start(packed: false);
        _device.Stand();
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        _driver.Kick(0);
        Assert.Null(queue.TakeUsed());
        Assert.Equal(0, _device.Requests);
        _device.Run();
        queue.WaitUsed();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ADeviceGoesOnWhereAnotherWasSaved(bool packed)
    {
        DriverQueue queue = Start(packed, VirtioFeatures.EventIndex);
        for (int i = 0; i < 21; i++)
        {
            queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
            _driver.Kick(0);
            queue.WaitUsed();
        }
        _device.Stand();
        VirtioDeviceState state = _device.Save();
        using EchoDevice other = new(_memory);
        DriverFunction driver = new(other, _memory);
        other.Stand();
        other.Restore(state);
        other.Run();
        Assert.Equal(15, driver.Status);
        Text(From, "more");
        queue.Add(new Buffer(From, 4, false), new Buffer(To, 4, true));
        driver.Kick(0);
        queue.WaitUsed();
        Assert.Equal("more", Text(To, 4));
        Assert.Throws<ArgumentException>(() => other.Restore(state with { Queues = [] }));
    }
}
