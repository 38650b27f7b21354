using System.Diagnostics;
using Trapline.Core;

namespace Trapline.Storage.Qcow2;

public sealed partial class Qcow2Image
{
    private byte[]? _copyBuffer;

    private RefcountStore Refcounts => _refcounts ?? throw new UnreachableException("an image that is read only has no reference counts in use");

    private protected override void WriteCore(long offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            int done = WriteInPlace(offset, source);
            if (done == 0)
            {
                lock (_allocation)
                    done = WriteNew(offset, source);
            }
            source = source[done..];
            offset += done;
        }
    }

    private protected override void WriteCore(long offset, IScatteredMemory memory, long from, long length)
    {
        long done = WriteInPlace(offset, memory, from, length);
        // What has to get clusters is written part by part.
        foreach (Span<byte> part in new ScatteredRange(memory, from + done, length - done))
        {
            WriteCore(offset + done, part);
            done += part.Length;
        }
    }

    /// <summary>Writes as much as lies in clusters that are this disk's alone.</summary>
    private int WriteInPlace(long offset, ReadOnlySpan<byte> source)
    {
        _passage.EnterReadLock();
        try
        {
            int done = 0;
            while (done < source.Length && TryMapInPlace(offset + done, source.Length - done, out Mapping mapping))
            {
                _file.Write(mapping.Host, source.Slice(done, (int)mapping.Length));
                done += (int)mapping.Length;
            }
            return done;
        }
        finally
        {
            _passage.ExitReadLock();
        }
    }

    /// <inheritdoc cref="WriteInPlace(long, ReadOnlySpan{byte})"/>
    private long WriteInPlace(long offset, IScatteredMemory memory, long from, long length)
    {
        _passage.EnterReadLock();
        try
        {
            long done = 0;
            while (done < length && TryMapInPlace(offset + done, length - done, out Mapping mapping))
            {
                _file.Write(mapping.Host, memory, from + done, mapping.Length);
                done += mapping.Length;
            }
            return done;
        }
        finally
        {
            _passage.ExitReadLock();
        }
    }

    private bool TryMapInPlace(long offset, long wanted, out Mapping mapping)
    {
        mapping = Map(offset, wanted);
        if (!mapping.InPlace)
            return false;
        if (mapping.Host < _clusterSize || mapping.Host > Refcounts.FileEnd - mapping.Length)
            throw Damaged($"a cluster cannot be at {mapping.Host}");
        return true;
    }

    /// <summary>Writes the first part of what has to get clusters; the allocation lock is held.</summary>
    /// <returns>Bytes written; zero if somebody was faster and it can be written in place now.</returns>
    private int WriteNew(long offset, ReadOnlySpan<byte> source)
    {
        MakeRoom();
        if (Map(offset, source.Length).InPlace)
            return 0;
        long table = WritableTable(offset);
        int first = (int)(offset >> _clusterBits) & ((1 << _tableBits) - 1);
        int inFirst = (int)(offset & (_clusterSize - 1));
        int wanted = CountNew(table, first, (inFirst + source.Length + _clusterSize - 1) >> _clusterBits);
        ulong old = _tables.Get(table, first);
        long host;
        int got = 1;
        bool fresh = false;
        bool reused = L2Entry.KindOf(old) == ExtentKind.Zero && (old & L2Entry.Copied) != 0 && IsUsable(HostOf(old));
        if (reused)
            host = HostOf(old);
        else
        {
            long end = Refcounts.FileEnd;
            host = Refcounts.Allocate(wanted, out got);
            fresh = host >= end;
        }
        int length = Math.Min(source.Length, (got << _clusterBits) - inFirst);
        PutData(offset, source[..length], host, (got << _clusterBits), fresh);
        for (int i = 0; i < got; i++)
        {
            ulong replaced = _tables.Get(table, first + i);
            _tables.Set(table, first + i, (ulong)(host + ((long)i << _clusterBits)) | L2Entry.Copied);
            if (!reused)
                FreeLater(replaced);
        }
        return length;
    }

    /// <summary>How many clusters from one on have to be allocated to be written: those up to one that need not be.</summary>
    private int CountNew(long table, int first, int most)
    {
        most = Math.Min(most, (1 << _tableBits) - first);
        int count = 1;
        while (count < most)
        {
            ulong entry = _tables.Get(table, first + count);
            if ((entry & L2Entry.Copied) != 0)
                break;
            count++;
        }
        return count;
    }

    /// <summary>Fills new clusters: the data, and around it what the disk had there before.</summary>
    private void PutData(long offset, ReadOnlySpan<byte> source, long host, int room, bool fresh)
    {
        int head = (int)(offset & (_clusterSize - 1)), tail = room - head - source.Length;
        bool headIsThere = head == 0 || (fresh && ReadsAsZero(offset - head));
        bool tailIsThere = tail == 0 || (fresh && ReadsAsZero(offset + source.Length));
        if (headIsThere && tailIsThere)
        {
            _file.Write(host + head, source);
            return;
        }
        // One write for a cluster, and no more than one cluster is copied at either end.
        _copyBuffer ??= GC.AllocateUninitializedArray<byte>(_clusterSize);
        Span<byte> cluster = _copyBuffer;
        if (room == _clusterSize)
        {
            ReadOld(offset - head, cluster[..head]);
            source.CopyTo(cluster[head..]);
            ReadOld(offset + source.Length, cluster[(head + source.Length)..]);
            _file.Write(host, cluster);
            return;
        }
        if (!headIsThere)
        {
            ReadOld(offset - head, cluster[..head]);
            _file.Write(host, cluster[..head]);
        }
        _file.Write(host + head, source);
        if (!tailIsThere)
        {
            ReadOld(offset + source.Length, cluster[..tail]);
            _file.Write(host + room - tail, cluster[..tail]);
        }
    }

    /// <summary>Within one cluster.</summary>
    private void ReadOld(long offset, Span<byte> part)
    {
        if (!part.IsEmpty)
            ReadMapped(Map(offset, part.Length), offset, part);
    }

    private bool ReadsAsZero(long offset) => Map(offset, 1).Kind switch
    {
        ExtentKind.Zero => true,
        ExtentKind.Unallocated => _backing == null || (offset & -_clusterSize) >= _backing.Length,
        _ => false,
    };

    private bool IsUsable(long host) => host >= _clusterSize && host <= Refcounts.FileEnd - _clusterSize;

    /// <summary>The L2 table for an offset, made or copied if it is not this disk's alone.</summary>
    private long WritableTable(long offset)
    {
        int index = (int)(offset >> (_clusterBits + _tableBits));
        long table = TableAt(_l1, index);
        if (table != 0 && (_l1[index] & L2Entry.Copied) != 0)
            return table >= _clusterSize ? table : throw Damaged($"an L2 table cannot be at {table}");
        long made = Refcounts.Allocate(1, out _);
        _tables.Create(made, table == 0 ? null : table);
        _metadata.Add(made >> _clusterBits);
        SetL1(index, (ulong)made | L2Entry.Copied);
        if (table != 0)
            FreeClustersLater(table, 1);
        return made;
    }
}
