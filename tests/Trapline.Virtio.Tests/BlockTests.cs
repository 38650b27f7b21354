using System.Buffers.Binary;
using System.Text;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Testing;
using Trapline.Virtio.Block;

namespace Trapline.Virtio.Tests;

public sealed class BlockTests : IDisposable
{
    private const ulong Flush = 1ul << 9, Discard = 1ul << 13, Zeroes = 1ul << 14, ReadOnly = 1ul << 5, MultiQueue = 1ul << 12;
    private const ulong QueueAt = 0x4000, HeadAt = 0x1_0000, StatusAt = 0x1_0100, DataAt = 0x2_0000;
    private const int DiskLength = 1 << 20;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);
    private MemoryDisk _disk = new(DiskLength);
    private VirtioBlock? _device;
    private DriverFunction _driver = null!;
    private DriverQueue _queue = null!;

    public void Dispose()
    {
        _device?.Dispose();
        _memory.Dispose();
    }

    private void Start(ulong features = Flush | Discard | Zeroes, bool readOnly = false, int workers = 1)
    {
        _disk = new MemoryDisk(DiskLength, readOnly);
        _device = new VirtioBlock("disk", _memory, _disk, "serial-1", queues: 2, workers);
        _driver = new DriverFunction(_device, _memory);
        Assert.True(_driver.Negotiate(VirtioFeatures.Version1 | VirtioFeatures.IndirectDescriptors | (features & _driver.Offered)));
        _queue = _driver.Queue(0, QueueAt, 64);
        _driver.DriverOk();
    }

    private void Head(uint type, ulong sector)
    {
        Span<byte> head = stackalloc byte[16];
        head.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(head, type);
        BinaryPrimitives.WriteUInt64LittleEndian(head[8..], sector);
        Assert.True(_memory.TryWrite(new Gpa(HeadAt), head));
        Assert.True(_memory.TryWrite(new Gpa(StatusAt), [0xEE]));
    }

    /// <summary>A request with this data; returns its status and the length that was used.</summary>
    private (byte Status, uint Used) Do(uint type, ulong sector, params Buffer[] data)
    {
        Head(type, sector);
        _queue.Add([new Buffer(HeadAt, 16, false), .. data, new Buffer(StatusAt, 1, true)]);
        _driver.Kick(0);
        uint used = _queue.WaitUsed().Length;
        Span<byte> status = stackalloc byte[1];
        Assert.True(_memory.TryRead(new Gpa(StatusAt), status));
        return (status[0], used);
    }

    private byte[] Bytes(ulong at, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_memory.TryRead(new Gpa(at), bytes));
        return bytes;
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void DataGoesToTheDiskAndBackHoweverItIsCut(int workers)
    {
        Start(workers: workers);
        byte[] data = new byte[4096];
        new Random(5).NextBytes(data);
        Assert.True(_memory.TryWrite(new Gpa(DataAt), data));
        Assert.Equal((0, 1u), Do(1, 3, new Buffer(DataAt, 1, false), new Buffer(DataAt + 1, 1000, false), new Buffer(DataAt + 1001, 3095, false)));
        Assert.Equal(data, _disk.Content.AsSpan(3 * 512, 4096));
        Assert.Equal((0, 4097u), Do(0, 3, new Buffer(DataAt + 0x4000, 4000, true), new Buffer(DataAt + 0x4000 + 4000, 96, true)));
        Assert.Equal(data, Bytes(DataAt + 0x4000, 4096));
        Assert.Equal(0, _disk.Flushes);
        Assert.Equal((0, 1u), Do(4, 0));
        Assert.Equal(1, _disk.Flushes);
    }

    [Fact]
    public void WithoutTheFlushCommandWhatIsWrittenIsFlushed()
    {
        Start(features: 0);
        Do(1, 0, new Buffer(DataAt, 512, false));
        Assert.Equal(1, _disk.Flushes);
    }

    [Fact]
    public void TheSerialNumberAndTheConfiguration()
    {
        Start();
        Assert.Equal((0, 21u), Do(8, 0, new Buffer(DataAt, 20, true)));
        Assert.Equal("serial-1" + new string('\0', 12), Encoding.ASCII.GetString(Bytes(DataAt, 20)));
        Assert.Equal((ulong)DiskLength / 512, _driver.Read(DriverFunction.DeviceConfig, 8));
        Assert.Equal(512ul, _driver.Read(DriverFunction.DeviceConfig + 20, 4));
        Assert.Equal(2ul, _driver.Read(DriverFunction.DeviceConfig + 34, 2));
        Assert.NotEqual(0ul, _driver.Offered & MultiQueue);
    }

    [Fact]
    public void RangesAreDiscardedAndZeroed()
    {
        Start();
        _disk.Content.AsSpan().Fill(7);
        Span<byte> ranges = stackalloc byte[32];
        ranges.Clear();
        ranges[0] = 2; // sector
        ranges[8] = 3; // sectors
        ranges[16] = 100;
        ranges[24] = 1;
        Assert.True(_memory.TryWrite(new Gpa(DataAt), ranges));
        Assert.Equal(0, Do(13, 0, new Buffer(DataAt, 32, false)).Status);
        Assert.All(_disk.Content.AsSpan(1024, 1536).ToArray(), b => Assert.Equal(0, b));
        Assert.Equal(7, _disk.Content[1023]);
        Assert.Equal(7, _disk.Content[1024 + 1536]);
        Assert.Equal(0, _disk.Content[100 * 512]);
        Assert.Equal(0, Do(11, 0, new Buffer(DataAt, 32, false)).Status);
        Assert.Equal(4 * 512, _disk.Discarded);
        ranges[12] = 2; // a flag that nobody knows
        Assert.True(_memory.TryWrite(new Gpa(DataAt), ranges));
        Assert.Equal(2, Do(13, 0, new Buffer(DataAt, 32, false)).Status);
        Assert.Equal(2, Do(11, 0, new Buffer(DataAt, 15, false)).Status);
    }

    [Theory]
    [InlineData(0, DiskLength / 512)]
    [InlineData(1, DiskLength / 512)]
    [InlineData(0, (DiskLength / 512) - 1)]
    [InlineData(1, long.MaxValue)]
    public void WhatLiesBehindTheEndIsAnError(uint type, ulong sector)
    {
        Start();
        Assert.Equal(1, Do(type, sector, new Buffer(DataAt, 1024, type == 0)).Status);
        Assert.Equal(0, Do(4, 0).Status);
    }

    [Fact]
    public void OddLengthsUnknownTypesAndADiskThatFailsAreErrorsOfTheRequestAlone()
    {
        Start();
        Assert.Equal(1, Do(0, 0, new Buffer(DataAt, 100, true)).Status);
        Assert.Equal(2, Do(77, 0).Status);
        _disk.Fails = true;
        Assert.Equal(1, Do(0, 0, new Buffer(DataAt, 512, true)).Status);
        Assert.Equal(1, Do(4, 0).Status);
        _disk.Fails = false;
        Assert.Equal(0, Do(0, 0, new Buffer(DataAt, 512, true)).Status);
    }

    [Fact]
    public void AReadOnlyDiskSaysSoAndIsNotWritten()
    {
        Start(readOnly: true);
        Assert.NotEqual(0ul, _driver.Offered & ReadOnly);
        Assert.Equal(0ul, _driver.Offered & (Discard | Zeroes));
        Assert.Equal(1, Do(1, 0, new Buffer(DataAt, 512, false)).Status);
        Assert.Equal(0, Do(0, 0, new Buffer(DataAt, 512, true)).Status);
        Assert.Equal(0, Do(4, 0).Status);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ARequestWithoutHeadOrStatusBreaksTheDevice(bool withHead)
    {
        Start();
        Head(0, 0);
        _queue.Add(withHead ? new Buffer(HeadAt, 16, false) : new Buffer(StatusAt, 1, true));
        _driver.Kick(0);
        Assert.True(SpinWait.SpinUntil(() => (_driver.Status & 64) != 0, 5000));
    }

    [Fact]
    public void ARequestAllocatesNothing()
    {
        Start();
        for (int i = 0; i < 500; i++)
            Do((uint)(i & 1), 0, new Buffer(DataAt, 4096, (i & 1) == 0));
        Assert.Equal(_disk.Allocated[100], _disk.Allocated[^1]);
    }

    [Fact]
    public void SeveralWorkersDoRequestsInAnyOrderAndAllOfThem()
    {
        Start(workers: 4);
        HashSet<uint> open = [];
        for (int round = 0; round < 200; round++)
        {
            for (int i = 0; i < 8; i++)
            {
                ulong head = HeadAt + (0x200ul * (ulong)i), data = DataAt + (0x1000ul * (ulong)i);
                Assert.True(_memory.TryWrite(new Gpa(head), [1, 0, 0, 0, 0, 0, 0, 0, (byte)(i * 8), 0, 0, 0, 0, 0, 0, 0]));
                byte[] content = new byte[4096];
                Array.Fill(content, (byte)(round + i));
                Assert.True(_memory.TryWrite(new Gpa(data), content));
                open.Add(_queue.Add(new Buffer(head, 16, false), new Buffer(data, 4096, false), new Buffer(head + 0x100, 1, true)));
            }
            _driver.Kick(0);
            for (int i = 0; i < 8; i++)
                Assert.True(open.Remove(_queue.WaitUsed().Id));
            for (int i = 0; i < 8; i++)
                Assert.Equal((byte)(round + i), _disk.Content[(i * 4096) + 17]);
        }
    }
}
