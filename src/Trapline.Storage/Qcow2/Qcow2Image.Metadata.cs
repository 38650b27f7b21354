using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Trapline.Core;

namespace Trapline.Storage.Qcow2;

public sealed partial class Qcow2Image
{
    /// <summary>Clusters that wait to be freed before a flush of our own: a bound of memory, not of correctness.</summary>
    private const int MostPending = 1 << 16;

    private readonly List<long> _pending = [];
    private int _l1From = int.MaxValue, _l1To;

    private bool IsLazy => (_header.Compatible & CompatibleFeatures.LazyRefcounts) != 0;

    private bool IsDirty => (_header.Incompatible & IncompatibleFeatures.Dirty) != 0;

    private protected override void FlushCore()
    {
        lock (_allocation)
            FlushMetadata();
    }

    private void PrepareToWrite()
    {
        if (_header.Version == 2)
            throw new BadInputException($"'{Path}' is a qcow2 image of version 2, which is only read: add ro, or trapline image convert it");
        if ((_header.Incompatible & IncompatibleFeatures.Corrupt) != 0)
            throw new BadInputException($"'{Path}' is marked as damaged: trapline image check --repair mends it");
        if (_header.Autoclear != 0)
            WriteHeader(_header with { Autoclear = 0 });
        if (IsDirty)
            RepairDirty();
        CollectMetadata();
        _refcounts = OpenRefcounts();
    }

    private RefcountStore OpenRefcounts() => new(Path, _file, _header, _metadata, (offset, clusters) =>
        WriteHeader(_header with { RefcountTableOffset = offset, RefcountTableClusters = clusters }));

    /// <summary>What was in use when the dirty image was left is counted anew.</summary>
    private void RepairDirty()
    {
        ReferenceWalk walk = ReferenceWalk.Of(_file, _header);
        if (walk.Errors.Count > 0)
            throw new BadInputException($"'{Path}' was not closed and is damaged: {walk.Errors[0]}; trapline image check --repair mends it");
        CopiedFlags.Mend(_file, _header, walk);
        _l1 = ReadL1(_file, _header.L1Offset, _header.L1Entries);
        WriteHeader(RefcountBuilder.Build(Path, _file, _header, walk.Counts));
        WriteHeader(_header with { Incompatible = _header.Incompatible & ~IncompatibleFeatures.Dirty });
    }

    /// <summary>Notes which clusters hold tables, so that none is ever taken for data.</summary>
    private void CollectMetadata()
    {
        _metadata.Clear();
        _metadata.Add(0);
        long end = _file.Length;
        AddTable(_header.L1Offset, _header.L1Entries * (long)sizeof(ulong));
        if (_header.SnapshotCount > 0)
            AddTable(_header.SnapshotOffset, 1);
        for (int i = 0; i < _l1.Length; i++)
        {
            long table = TableOrComplaint(i);
            if (table != 0 && (table >= end || !_metadata.Add(table >> _clusterBits)))
                throw new BadInputException(Damaged($"L2 table {i} cannot be at {table}").Message);
        }
    }

    private long TableOrComplaint(int index)
    {
        try
        {
            return TableAt(_l1, index);
        }
        catch (IOException e)
        {
            throw new BadInputException(e.Message);
        }
    }

    private void AddTable(long offset, long length)
    {
        for (long cluster = offset >> _clusterBits; cluster < (offset + length + _clusterSize - 1) >> _clusterBits; cluster++)
            _metadata.Add(cluster);
    }

    /// <summary>Before anything is allocated: bounds what waits in memory, and marks the image if reference counts will be late.</summary>
    private void MakeRoom()
    {
        if (IsLazy && !IsDirty)
            SetDirty(true);
        if (_tables.IsCrowded || Refcounts.IsCrowded || _pending.Count >= MostPending)
            FlushMetadata(countsToo: Refcounts.IsCrowded);
    }

    /// <summary>Brings what was changed to stable storage, in order. The allocation lock is held.</summary>
    /// <param name="countsToo">Reference counts even where they may be late.</param>
    private void FlushMetadata(bool countsToo = false)
    {
        RefcountStore counts = Refcounts;
        if (_file.Length < counts.FileEnd)
            _file.SetLength(counts.FileEnd);
        if (!IsDirty || countsToo)
            counts.Write();
        _file.Flush();
        if (_tables.HasChanges)
        {
            _tables.WriteChanges();
            _file.Flush();
        }
        if (_l1To > 0)
        {
            WriteL1();
            _file.Flush();
        }
        if (_pending.Count > 0)
            FreePending();
    }

    /// <summary>All is on stable storage, and the image is marked clean.</summary>
    private void Settle()
    {
        FlushMetadata(countsToo: true);
        if (!Refcounts.HasChanges && !IsDirty)
            return;
        Refcounts.Write();
        _file.Flush();
        if (IsDirty && !_countsUnsure)
            SetDirty(false);
    }

    private void SetDirty(bool dirty) => WriteHeader(_header with
    {
        Incompatible = dirty ? _header.Incompatible | IncompatibleFeatures.Dirty : _header.Incompatible & ~IncompatibleFeatures.Dirty,
    });

    private void SetL1(int index, ulong entry)
    {
        Volatile.Write(ref _l1[index], entry);
        _l1From = Math.Min(_l1From, index);
        _l1To = Math.Max(_l1To, index + 1);
    }

    private void WriteL1()
    {
        byte[] bytes = new byte[(_l1To - _l1From) * sizeof(ulong)];
        for (int i = _l1From; i < _l1To; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan((i - _l1From) * sizeof(ulong)), _l1[i]);
        _file.Write(_header.L1Offset + (_l1From * (long)sizeof(ulong)), bytes);
        (_l1From, _l1To) = (int.MaxValue, 0);
    }

    /// <summary>What an L2 entry refers to has one reference less, once nothing on stable storage shows it.</summary>
    private void FreeLater(ulong entry)
    {
        if (L2Entry.KindOf(entry) == ExtentKind.Compressed)
        {
            (long offset, int length) = L2Entry.CompressedRange(entry, _clusterBits);
            long first = offset >> _clusterBits;
            FreeClustersLater(first << _clusterBits, (int)(((offset + length - 1) >> _clusterBits) - first) + 1);
        }
        else if (HostOf(entry) is not 0 and var host)
            FreeClustersLater(host, 1);
    }

    private void FreeClustersLater(long offset, int count)
    {
        for (int i = 0; i < count; i++)
            _pending.Add((offset >> _clusterBits) + i);
    }

    private void FreePending()
    {
        // Whoever looked a cluster up before it was unmapped is done with it when this lock has been had.
        if (!_passage.IsWriteLockHeld)
        {
            _passage.EnterWriteLock();
            _passage.ExitWriteLock();
        }
        _compressed.Forget();
        Span<long> pending = CollectionsMarshal.AsSpan(_pending);
        pending.Sort();
        long holeStart = 0, holeEnd = 0;
        foreach (long cluster in pending)
        {
            Refcounts.Add(cluster, -1);
            if (Refcounts.Get(cluster) != 0)
                continue;
            if (_metadata.Remove(cluster))
                _tables.Forget(cluster << _clusterBits);
            ForgetPacking(cluster);
            if (cluster != holeEnd)
            {
                Punch(holeStart, holeEnd);
                holeStart = cluster;
            }
            holeEnd = cluster + 1;
        }
        Punch(holeStart, holeEnd);
        _pending.Clear();
    }

    private void Punch(long firstCluster, long endCluster)
    {
        if (endCluster > firstCluster && Unmaps)
            _file.TryZero(firstCluster << _clusterBits, (endCluster - firstCluster) << _clusterBits, unmap: true);
    }

    /// <summary>Writes the header's fixed part, one sector, and waits until it is on stable storage.</summary>
    private void WriteHeader(Qcow2Header header)
    {
        byte[] start = new byte[Qcow2Header.SwitchedLength];
        // What lies in between (the place of the backing image's name, the header's length) stays.
        _file.Read(0, start);
        byte[] fields = new byte[Qcow2Header.SwitchedLength];
        header.WriteFixed(fields);
        start.AsSpan(8, 12).CopyTo(fields.AsSpan(8));
        start.AsSpan(100, 4).CopyTo(fields.AsSpan(100));
        _file.Write(0, fields);
        _file.Flush();
        _header = header;
    }
}
