using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Block;

/// <summary>The block device (virtio 1.2, 5.2) over a disk back end, whose calls block: several workers, each with one request at a time.</summary>
/// <remarks>Data goes between the back end and guest memory without a copy. The back end stays the caller's.</remarks>
public sealed class VirtioBlock : VirtioDevice
{
    public const int SectorSize = 512, IdLength = 20;

    private const ulong SegmentMaximum = 1ul << 2, ReadOnlyDisk = 1ul << 5, BlockSize = 1ul << 6, FlushCommand = 1ul << 9, Topology = 1ul << 10,
        MultiQueue = 1ul << 12, DiscardCommand = 1ul << 13, WriteZeroesCommand = 1ul << 14;

    private const ushort QueueSize = 256;

    /// <summary>Parts of memory in one request. Half of what a queue takes: the guest cuts larger transfers, so that several workers have a piece each.</summary>
    private const uint MostSegments = (QueueSize / 2) - 2;

    private const int ConfigLength = 60, MostRanges = 16;

    /// <summary>Longest transfer, in bytes: what a worker may be busy with while a reset waits for it.</summary>
    private const ulong MostBytes = 64 << 20;
    private const uint MostDiscardSectors = 1 << 22, MostZeroSectors = 1 << 17;

    private readonly IDiskBackend _disk;
    private readonly byte[] _config = new byte[ConfigLength];
    private readonly byte[] _id = new byte[IdLength];
    private readonly DescriptorChain[] _chains;
    private readonly int _queueCount;

    /// <param name="id">Shown to the guest as the disk's serial number: at most 20 bytes of ASCII.</param>
    /// <param name="queues">How many request queues: one for each vCPU is best.</param>
    /// <param name="workers">How many requests are served at once.</param>
    public VirtioBlock(string name, GuestMemory memory, IDiskBackend disk, string id, int queues, int workers)
        : base(name, VirtioTypes.Block, memory, Sizes(queues), workers)
    {
        (_disk, _queueCount) = (disk, queues);
        _chains = [.. Enumerable.Range(0, workers).Select(_ => new DescriptorChain(memory, QueueSize))];
        Encoding.ASCII.GetBytes(id.Length > IdLength ? id[..IdLength] : id, _id);
        Describe();
    }

    private static ushort[] Sizes(int queues)
    {
        ushort[] sizes = new ushort[queues];
        Array.Fill(sizes, QueueSize);
        return sizes;
    }

    protected override ulong DeviceFeatures => SegmentMaximum | BlockSize | FlushCommand | Topology
        | (_queueCount > 1 ? MultiQueue : 0)
        | (_disk.IsReadOnly ? ReadOnlyDisk : DiscardCommand | WriteZeroesCommand);

    /// <summary>The configuration space (5.2.4).</summary>
    private void Describe()
    {
        Span<byte> c = _config;
        int optimal = BitOperations.Log2((uint)Math.Clamp(_disk.OptimalBlockSize, SectorSize, 1 << 20) / SectorSize);
        BinaryPrimitives.WriteUInt64LittleEndian(c, (ulong)_disk.Length / SectorSize);
        BinaryPrimitives.WriteUInt32LittleEndian(c[12..], MostSegments);
        BinaryPrimitives.WriteUInt32LittleEndian(c[20..], SectorSize);
        c[24] = (byte)Math.Min(optimal, 3); // a larger physical block than 4 KiB is no sector size that guests know
        BinaryPrimitives.WriteUInt16LittleEndian(c[26..], (ushort)(1 << Math.Min(optimal, 15)));
        BinaryPrimitives.WriteUInt16LittleEndian(c[34..], (ushort)_queueCount);
        BinaryPrimitives.WriteUInt32LittleEndian(c[36..], MostDiscardSectors);
        BinaryPrimitives.WriteUInt32LittleEndian(c[40..], MostRanges);
        BinaryPrimitives.WriteUInt32LittleEndian(c[44..], (uint)Math.Max(_disk.OptimalBlockSize / SectorSize, 1));
        BinaryPrimitives.WriteUInt32LittleEndian(c[48..], MostZeroSectors);
        BinaryPrimitives.WriteUInt32LittleEndian(c[52..], MostRanges);
        c[56] = 1; // zeroes may be unmapped
    }

    public override void ReadConfig(int offset, Span<byte> destination)
    {
        for (int i = 0; i < destination.Length; i++)
            destination[i] = offset + i < ConfigLength ? _config[offset + i] : (byte)0;
    }

    /// <summary>Has what the guest wrote on stable storage, as far as the host's disk takes it.</summary>
    /// <returns>False if the host refused: the guest's own flush will hear of it.</returns>
    public bool TryFlush()
    {
        if (_disk.IsReadOnly)
            return true;
        try
        {
            _disk.Flush();
            return true;
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            return false;
        }
    }

    protected override void Serve(int worker, ulong queues)
    {
        DescriptorChain chain = _chains[worker];
        for (; queues != 0; queues &= queues - 1)
        {
            VirtQueue queue = Queues[BitOperations.TrailingZeroCount(queues)];
            while (queue.TryPop(chain))
            {
                if (_chains.Length > 1 && queue.HasMore)
                    Wake(1ul << queue.Index);
                queue.Push(chain, Do(chain));
            }
        }
    }

    /// <summary>Does a request; returns the bytes written, with the status byte that ends every request.</summary>
    private uint Do(DescriptorChain chain)
    {
        ChainCursor reader = chain.Reader, writer = chain.Writer;
        Span<byte> head = stackalloc byte[BlockRequestHeader.Size];
        // Without room for a status there is no way to answer: the driver does not keep to 5.2.6.
        if (chain.WritableLength == 0 || reader.Read(head) != head.Length)
        {
            Break();
            return 0;
        }
        ulong room = chain.WritableLength - 1;
        BlockStatus status;
        try
        {
            status = Do(MemoryMarshal.Read<BlockRequestHeader>(head), chain, ref reader, ref writer, room);
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            status = BlockStatus.IoError;
        }
        ulong done = writer.Position;
        ChainCursor end = chain.Writer;
        end.Skip(room);
        end.Write([(byte)status]);
        return status == BlockStatus.Ok && done == room ? (uint)(room + 1) : (uint)Math.Min(done, room);
    }

    private BlockStatus Do(BlockRequestHeader request, DescriptorChain chain, ref ChainCursor reader, ref ChainCursor writer, ulong room)
    {
        switch (request.Type)
        {
            case BlockRequestType.Read:
                return Read(request.Sector, chain, ref writer, room);
            case BlockRequestType.Write:
                return _disk.IsReadOnly ? BlockStatus.IoError : Write(request.Sector, chain);
            case BlockRequestType.Flush:
                if (!_disk.IsReadOnly)
                    _disk.Flush();
                return BlockStatus.Ok;
            case BlockRequestType.GetId:
                return room >= IdLength && writer.Write(_id) == IdLength ? BlockStatus.Ok : BlockStatus.IoError;
            case BlockRequestType.Discard when Has(DiscardCommand):
            case BlockRequestType.WriteZeroes when Has(WriteZeroesCommand):
                return Ranges(request.Type, ref reader);
            default:
                return BlockStatus.Unsupported;
        }
    }

    private BlockStatus Read(ulong sector, DescriptorChain chain, ref ChainCursor writer, ulong length)
    {
        if (!IsOnDisk(sector, length) || length > MostBytes)
            return BlockStatus.IoError;
        chain.WillWrite(length);
        _disk.Read((long)sector * SectorSize, chain.WritableParts, 0, (long)length);
        return writer.Skip(length) ? BlockStatus.Ok : BlockStatus.IoError;
    }

    private BlockStatus Write(ulong sector, DescriptorChain chain)
    {
        ulong length = chain.ReadableLength - BlockRequestHeader.Size;
        if (!IsOnDisk(sector, length) || length > MostBytes)
            return BlockStatus.IoError;
        _disk.Write((long)sector * SectorSize, chain.ReadableParts, BlockRequestHeader.Size, (long)length);
        // Without the flush command a driver takes a write that is done for one that stays (5.2.6.2).
        if (!Has(FlushCommand))
            _disk.Flush();
        return BlockStatus.Ok;
    }

    private BlockStatus Ranges(BlockRequestType type, ref ChainCursor reader)
    {
        if (_disk.IsReadOnly)
            return BlockStatus.IoError;
        if (reader.Remaining is 0 or > MostRanges * BlockRange.Size || reader.Remaining % BlockRange.Size != 0)
            return BlockStatus.Unsupported;
        Span<byte> bytes = stackalloc byte[BlockRange.Size];
        while (reader.Read(bytes) == bytes.Length)
        {
            BlockRange range = MemoryMarshal.Read<BlockRange>(bytes);
            bool zero = type == BlockRequestType.WriteZeroes;
            if ((range.Flags & ~(zero ? BlockRange.Unmap : 0)) != 0)
                return BlockStatus.Unsupported;
            ulong length = (ulong)range.Sectors * SectorSize;
            if (range.Sectors > (zero ? MostZeroSectors : MostDiscardSectors) || !IsOnDisk(range.Sector, length))
                return BlockStatus.IoError;
            if (zero)
                _disk.WriteZeroes((long)range.Sector * SectorSize, (long)length, (range.Flags & BlockRange.Unmap) != 0);
            else
                _disk.Discard((long)range.Sector * SectorSize, (long)length);
        }
        return BlockStatus.Ok;
    }

    private bool IsOnDisk(ulong sector, ulong length)
    {
        ulong sectors = (ulong)_disk.Length / SectorSize;
        return length % SectorSize == 0 && sector <= sectors && length / SectorSize <= sectors - sector;
    }
}
