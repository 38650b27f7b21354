using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>A disk in QEMU's copy-on-write format: version 3, and version 2 for reading.</summary>
/// <remarks>
/// Two locks, in this order:
/// the allocation lock, held by whoever changes where clusters lie, for as long as the change takes;
/// the passage, held shared by every request while it goes to clusters that are mapped, and alone for moments: to wait until nobody uses clusters that are
/// about to be freed, and for changes of the whole image. Under either, the gate of a cache for the moment of a look or a change.
///
/// What reaches the file in which order, so that a crash at any moment loses nothing that was flushed and leaves clusters unused at worst:
/// the guest's data, reference counts that go up → L2 tables → the L1 table → reference counts that go down. Between these stand flushes
/// (<see cref="FlushMetadata"/>). Freed clusters are taken again only after all that. Operations that cannot be ordered like this are done with the dirty bit
/// set, so that the next one to open the image counts the references anew.
/// </remarks>
public sealed partial class Qcow2Image : DiskImage
{
    private readonly IImageFile _file;
    private readonly DiskImage? _backing;
    private readonly MetadataCache _tables;
    private readonly Lock _allocation = new();
    private readonly ReaderWriterLockSlim _passage = new();
    private readonly CompressedClusters _compressed;
    private readonly HashSet<long> _metadata = [0];
    private readonly int _clusterBits;
    private readonly int _clusterSize;
    private readonly int _tableBits;
    private RefcountStore? _refcounts;
    private Qcow2Header _header;
    private ulong[] _l1;
    private long _size;
    private bool _disposed;

    internal Qcow2Image(IImageFile file, Qcow2Header header, DiskImage? backing, ImageOptions options)
        : base(options)
    {
        (_file, _header, _backing) = (file, header, backing);
        (_clusterBits, _clusterSize, _tableBits) = (header.ClusterBits, header.ClusterSize, header.ClusterBits - 3);
        _size = RoundUp(header.Size);
        _tables = new MetadataCache(file, _clusterSize, Math.Clamp((32 << 20) >> _clusterBits, 16, 1024));
        _compressed = new CompressedClusters(Path, file, header);
        _l1 = ReadL1(file, header.L1Offset, header.L1Entries);
        if (!options.ReadOnly)
            PrepareToWrite();
    }

    public override ImageFormat Format => ImageFormat.Qcow2;

    public override long Length => Volatile.Read(ref _size);

    public override int OptimalBlockSize => Math.Min(_clusterSize, 4096);

    public override DiskImage? Backing => _backing;

    internal Qcow2Header Header => _header;

    public override Extent ExtentAt(long offset)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)offset, (ulong)Length, nameof(offset));
        _passage.EnterReadLock();
        try
        {
            Mapping mapping = Map(offset, Length - offset);
            long host = mapping.Kind == ExtentKind.Data ? mapping.Host : -1;
            return new Extent(mapping.Kind, mapping.Length, host);
        }
        finally
        {
            _passage.ExitReadLock();
        }
    }

    public override void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        try
        {
            if (!IsReadOnly)
            {
                lock (_allocation)
                    Settle();
            }
        }
        finally
        {
            _file.Dispose();
            _backing?.Dispose();
            _passage.Dispose();
        }
    }

    internal static ulong[] ReadL1(IImageFile file, long offset, int entries)
    {
        byte[] bytes = new byte[entries * sizeof(ulong)];
        file.Read(offset, bytes);
        ulong[] table = new ulong[entries];
        for (int i = 0; i < entries; i++)
            table[i] = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(i * sizeof(ulong)));
        return table;
    }

    private protected override void ReadCore(long offset, Span<byte> destination)
    {
        _passage.EnterReadLock();
        try
        {
            while (!destination.IsEmpty)
            {
                Mapping mapping = Map(offset, destination.Length);
                Span<byte> part = destination[..(int)mapping.Length];
                ReadMapped(mapping, offset, part);
                destination = destination[part.Length..];
                offset += part.Length;
            }
        }
        finally
        {
            _passage.ExitReadLock();
        }
    }

    private protected override void ReadCore(long offset, IScatteredMemory memory, long from, long length)
    {
        _passage.EnterReadLock();
        try
        {
            for (long done = 0; done < length;)
            {
                Mapping mapping = Map(offset + done, length - done);
                if (mapping.Kind == ExtentKind.Data)
                {
                    _file.Read(mapping.Host, memory, from + done, mapping.Length);
                }
                else
                {
                    long at = offset + done;
                    foreach (Span<byte> part in new ScatteredRange(memory, from + done, mapping.Length))
                    {
                        ReadMapped(mapping, at, part);
                        at += part.Length;
                    }
                }
                done += mapping.Length;
            }
        }
        finally
        {
            _passage.ExitReadLock();
        }
    }

    private void ReadMapped(in Mapping mapping, long offset, Span<byte> part)
    {
        switch (mapping.Kind)
        {
            case ExtentKind.Data:
                _file.Read(mapping.Host, part);
                break;
            case ExtentKind.Compressed:
                _compressed.Read(mapping.Entry, (int)(offset & (_clusterSize - 1)), part);
                break;
            case ExtentKind.Unallocated when _backing != null:
                ReadBacking(offset, part);
                break;
            default:
                part.Clear();
                break;
        }
    }

    /// <summary>The backing image may be shorter; it goes on with zeroes.</summary>
    private void ReadBacking(long offset, Span<byte> part)
    {
        int there = (int)Math.Clamp(_backing!.Length - offset, 0, part.Length);
        if (there > 0)
            _backing.Read(offset, part[..there]);
        part[there..].Clear();
    }

    /// <summary>Where a part of the disk lies.</summary>
    /// <param name="Kind">How it is stored.</param>
    /// <param name="Length">How far from the offset that was asked.</param>
    /// <param name="Host">For data: where in the file.</param>
    /// <param name="Entry">The L2 entry of the first cluster.</param>
    private readonly record struct Mapping(ExtentKind Kind, long Length, long Host, ulong Entry)
    {
        public bool InPlace => Kind == ExtentKind.Data && (Entry & L2Entry.Copied) != 0;
    }

    /// <summary>Looks an offset up, as far as one L2 table maps alike (qcow2: Cluster mapping). The passage or the allocation lock is held.</summary>
    private Mapping Map(long offset, long wanted)
    {
        ulong[] l1 = Volatile.Read(ref _l1);
        long inCluster = offset & (_clusterSize - 1);
        int index = (int)(offset >> _clusterBits) & ((1 << _tableBits) - 1);
        long limit = Math.Min(wanted, ((long)((1 << _tableBits) - index) << _clusterBits) - inCluster);
        long table = TableAt(l1, offset >> (_clusterBits + _tableBits));
        if (table == 0)
            return new Mapping(ExtentKind.Unallocated, limit, 0, 0);
        lock (_tables.Gate)
        {
            ReadOnlySpan<byte> entries = _tables.Load(table);
            ulong entry = EntryAt(entries, index);
            ExtentKind kind = L2Entry.KindOf(entry);
            long host = kind == ExtentKind.Data ? HostOf(entry) : 0;
            long length = _clusterSize - inCluster;
            if (kind != ExtentKind.Compressed)
            {
                for (int i = index + 1; length < limit; i++, length += _clusterSize)
                {
                    ulong next = EntryAt(entries, i);
                    if (L2Entry.KindOf(next) != kind)
                        break;
                    if (kind == ExtentKind.Data && (next != entry + ((ulong)(i - index) << _clusterBits)))
                        break;
                }
            }
            return new Mapping(kind, Math.Min(length, limit), host + inCluster, entry);
        }
    }

    private ulong EntryAt(ReadOnlySpan<byte> table, int index)
    {
        ulong entry = BinaryPrimitives.ReadUInt64BigEndian(table[(index * sizeof(ulong))..]);
        // Version 2 reserves the bit, and QEMU ignores it there.
        return _header.Version > 2 || (entry & L2Entry.Compressed) != 0 ? entry : entry & ~L2Entry.Zero;
    }

    private long TableAt(ulong[] l1, long index)
    {
        if (index >= l1.Length)
            throw Damaged($"the L1 table has no entry {index}");
        long table = L2Entry.Offset(l1[index]);
        return (table & (_clusterSize - 1)) == 0 ? table : throw Damaged($"an L2 table cannot be at {table}");
    }

    private long HostOf(ulong entry)
    {
        long host = L2Entry.Offset(entry);
        return (host & (_clusterSize - 1)) == 0 ? host : throw Damaged($"a cluster cannot be at {host}");
    }

    private IOException Damaged(string what) => new($"'{Path}' is damaged: {what}; trapline image check --repair mends it");

    private static long RoundUp(long size) => (size + SectorSize - 1) & -SectorSize;
}
