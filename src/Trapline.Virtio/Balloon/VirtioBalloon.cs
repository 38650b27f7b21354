using System.Buffers.Binary;
using System.Numerics;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Balloon;

/// <summary>State of a balloon.</summary>
[SavedState("virtio-balloon", 1)]
public sealed record VirtioBalloonState(uint Target, uint Actual);

/// <summary>The balloon device (virtio 1.2, 5.5): pages that the guest does without, and pages that it reports as free (5.5.6.7), go back to the host.</summary>
public sealed class VirtioBalloon : VirtioDevice, ISavedDevice<VirtioBalloonState>
{
    private const ulong DeflateOnOutOfMemory = 1ul << 2, PageReporting = 1ul << 5;
    private const int InflateQueue = 0, DeflateQueue = 1, ReportingQueue = 2;
    private const int PageShift = 12, ConfigLength = 16;
    private const ushort QueueSize = 128;

    /// <summary>Page numbers in one request that are looked at: no driver sends as many.</summary>
    private const int MostPages = 1 << 16;

    private readonly DescriptorChain _chain;
    private uint _target, _actual;
    private long _released;

    public VirtioBalloon(GuestMemory memory)
        : base("virtio-balloon", VirtioTypes.Balloon, memory, [QueueSize, QueueSize, QueueSize]) => _chain = new DescriptorChain(memory, QueueSize);

    protected override ulong DeviceFeatures => DeflateOnOutOfMemory | PageReporting;

    /// <summary>Bytes that the guest was asked to do without.</summary>
    public ulong Target => (ulong)Volatile.Read(ref _target) << PageShift;

    /// <summary>Bytes that it says it does without.</summary>
    public ulong Actual => (ulong)Volatile.Read(ref _actual) << PageShift;

    /// <summary>Bytes given back to the host so far, by either way.</summary>
    public long Released => Interlocked.Read(ref _released);

    /// <summary>Asks the guest to do without so many bytes from now on.</summary>
    public void SetTarget(ulong bytes)
    {
        Volatile.Write(ref _target, (uint)Math.Min(bytes >> PageShift, uint.MaxValue));
        ConfigChanged();
    }

    public override void ReadConfig(int offset, Span<byte> destination)
    {
        Span<byte> config = stackalloc byte[ConfigLength];
        config.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(config, _target);
        BinaryPrimitives.WriteUInt32LittleEndian(config[4..], _actual);
        for (int i = 0; i < destination.Length; i++)
            destination[i] = offset + i < ConfigLength ? config[offset + i] : (byte)0;
    }

    public override void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        if (offset == 4 && source.Length == 4)
            Volatile.Write(ref _actual, BinaryPrimitives.ReadUInt32LittleEndian(source));
    }

    protected override void OnReset() => _actual = 0;

    protected override void Serve(int worker, ulong queues)
    {
        for (; queues != 0; queues &= queues - 1)
        {
            VirtQueue queue = Queues[BitOperations.TrailingZeroCount(queues)];
            while (queue.TryPop(_chain))
            {
                if (queue.Index == InflateQueue)
                    Inflate();
                else if (queue.Index == ReportingQueue)
                    Report();
                queue.Push(_chain, 0);
            }
        }
    }

    /// <summary>Page numbers, 32 bits each, that mean no memory are ignored (5.5.6).</summary>
    private void Inflate()
    {
        Span<byte> numbers = stackalloc byte[1024];
        ChainCursor reader = _chain.Reader;
        ulong start = 0, length = 0;
        for (int pages = 0; pages < MostPages;)
        {
            int read = reader.Read(numbers) & ~3;
            if (read == 0)
                break;
            for (int at = 0; at < read; at += sizeof(uint), pages++)
            {
                ulong page = (ulong)BinaryPrimitives.ReadUInt32LittleEndian(numbers[at..]) << PageShift;
                if (length != 0 && page == start + length)
                {
                    length += GuestMemory.PageSize;
                    continue;
                }
                // Linux hands the pages of a block out from its end.
                if (length != 0 && page + GuestMemory.PageSize == start)
                {
                    (start, length) = (page, length + GuestMemory.PageSize);
                    continue;
                }
                Release(start, length);
                (start, length) = (page, GuestMemory.PageSize);
            }
        }
        Release(start, length);
    }

    private void Report()
    {
        for (int i = 0; _chain.TryGetWritableRange(i, out Gpa address, out uint length); i++)
            Release(address.Value, length);
    }

    private void Release(ulong start, ulong length)
    {
        if (length != 0 && Memory.TryRelease(new Gpa(start), length))
            Interlocked.Add(ref _released, (long)length);
    }

    VirtioBalloonState ISavedDevice<VirtioBalloonState>.Save() => new(_target, _actual);

    void ISavedDevice<VirtioBalloonState>.Restore(VirtioBalloonState state) => (_target, _actual) = (state.Target, state.Actual);
}
