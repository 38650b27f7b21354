using System.Buffers.Binary;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>Follows everything in an image that refers to clusters, but for the reference counts themselves, and counts.</summary>
/// <remarks>Every table is read once, however often it is referred to, so a hostile image costs no more than its length.</remarks>
internal sealed class ReferenceWalk
{
    private const int MostErrors = 100;

    private readonly IImageFile _file;
    private readonly Qcow2Header _header;
    private readonly Dictionary<long, uint> _tables = [];

    private ReferenceWalk(IImageFile file, Qcow2Header header)
    {
        (_file, _header) = (file, header);
        Counts = new ReferenceCounts((file.Length + header.ClusterSize - 1) >> header.ClusterBits);
    }

    public ReferenceCounts Counts { get; }

    /// <summary>What cannot be, in words; the first ones.</summary>
    public List<string> Errors { get; } = [];

    public long ErrorCount { get; private set; }

    /// <summary>Clusters of the active disk that are stored, and of these compressed ones.</summary>
    public long Allocated { get; private set; }

    public long Compressed { get; private set; }

    public static ReferenceWalk Of(IImageFile file, Qcow2Header header)
    {
        ReferenceWalk walk = new(file, header);
        walk.Counts.Add(0, 1);
        walk.AddRange(header.L1Offset, header.L1Entries * (long)sizeof(ulong), "the L1 table");
        walk.NoteTables(header.L1Offset, header.L1Entries, "the L1 table");
        HashSet<long> active = [.. walk._tables.Keys];
        walk.AddSnapshots();
        foreach ((long table, uint times) in walk._tables)
            walk.AddTable(table, times, active.Contains(table));
        walk.AddBitmaps();
        return walk;
    }

    public void Complain(string error)
    {
        ErrorCount++;
        if (Errors.Count < MostErrors)
            Errors.Add(error);
    }

    public void AddRange(long offset, long length, string what)
    {
        long end = (offset + length + _header.ClusterSize - 1) >> _header.ClusterBits;
        if ((offset & (_header.ClusterSize - 1)) != 0 || length < 0 || offset < 0 || end > Counts.Clusters)
        {
            Complain($"{what} cannot be at {offset}, {length} bytes");
            return;
        }
        for (long cluster = offset >> _header.ClusterBits; cluster < end; cluster++)
            Counts.Add(cluster, 1);
    }

    /// <summary>An L2 table is where one can be.</summary>
    public static bool IsTable(long offset, Qcow2Header header, long fileLength) => (offset & (header.ClusterSize - 1)) == 0 && offset < fileLength;

    private void NoteTables(long offset, int entries, string what)
    {
        if (offset > _file.Length)
            return;
        ulong[] l1 = Qcow2Image.ReadL1(_file, offset, entries);
        for (int i = 0; i < l1.Length; i++)
        {
            long table = L2Entry.Offset(l1[i]);
            if (table == 0)
                continue;
            if (!IsTable(table, _header, _file.Length))
                Complain($"entry {i} of {what}: an L2 table cannot be at {table}");
            else
                _tables[table] = _tables.GetValueOrDefault(table) + 1;
        }
    }

    private void AddSnapshots()
    {
        if (_header.SnapshotCount == 0)
            return;
        if (!SnapshotTable.TryRead(_file, _header, out List<SnapshotRecord> snapshots, out long length))
        {
            Complain("the snapshot table cannot be read");
            return;
        }
        AddRange(_header.SnapshotOffset, length, "the snapshot table");
        // Valid L1 tables do not overlap, so together they are no longer than the file.
        if (snapshots.Sum(s => s.L1Entries * (long)sizeof(ulong)) > _file.Length)
        {
            Complain("the L1 tables of the snapshots overlap");
            return;
        }
        foreach (SnapshotRecord snapshot in snapshots)
        {
            string what = $"the L1 table of snapshot '{snapshot.Name}'";
            AddRange(snapshot.L1Offset, snapshot.L1Entries * (long)sizeof(ulong), what);
            NoteTables(snapshot.L1Offset, snapshot.L1Entries, what);
        }
    }

    private void AddTable(long table, uint times, bool active)
    {
        Counts.Add(table >> _header.ClusterBits, times);
        byte[] entries = new byte[_header.ClusterSize];
        _file.Read(table, entries);
        for (int i = 0; i < entries.Length; i += sizeof(ulong))
        {
            ulong entry = BinaryPrimitives.ReadUInt64BigEndian(entries.AsSpan(i));
            if (entry == 0 || Add(entry, times) is not { } error)
            {
                if (active && entry != 0 && L2Entry.KindOf(entry) is ExtentKind.Data or ExtentKind.Compressed)
                    Allocated++;
                if (active && (entry & L2Entry.Compressed) != 0)
                    Compressed++;
                continue;
            }
            Complain($"entry {i / sizeof(ulong)} of the L2 table at {table}: {error}");
        }
    }

    private string? Add(ulong entry, uint times)
    {
        if ((entry & L2Entry.Compressed) != 0)
        {
            (long start, int length) = L2Entry.CompressedRange(entry, _header.ClusterBits);
            for (long cluster = start >> _header.ClusterBits; cluster <= (start + length - 1) >> _header.ClusterBits; cluster++)
            {
                // The last sector of the file may be cut off behind the data.
                if (!Counts.Add(cluster, times) && cluster == start >> _header.ClusterBits)
                    return $"a compressed cluster cannot be at {start}";
            }
            return (entry & L2Entry.Copied) != 0 ? "a compressed cluster is said to be writable in place" : null;
        }
        long host = L2Entry.Offset(entry);
        if (host == 0)
            return null;
        return (host & (_header.ClusterSize - 1)) == 0 && Counts.Add(host >> _header.ClusterBits, times) ? null : $"a cluster cannot be at {host}";
    }

    /// <summary>Bitmaps are nothing to us, but their clusters are theirs (qcow2: Bitmaps).</summary>
    private void AddBitmaps()
    {
        if (_header.BitmapDirectory is not var (offset, length, count))
            return;
        const int mostDirectory = 1 << 20, fixedLength = 24;
        if (length is < 0 or > mostDirectory || offset < 0 || offset > _file.Length)
        {
            Complain($"the bitmap directory cannot be at {offset}, {length} bytes");
            return;
        }
        AddRange(offset, length, "the bitmap directory");
        byte[] directory = new byte[length];
        _file.Read(offset, directory);
        int at = 0;
        for (int i = 0; i < count && at + fixedLength <= directory.Length; i++)
        {
            long table = BinaryPrimitives.ReadInt64BigEndian(directory.AsSpan(at));
            long entries = BinaryPrimitives.ReadUInt32BigEndian(directory.AsSpan(at + 8));
            int name = BinaryPrimitives.ReadUInt16BigEndian(directory.AsSpan(at + 18));
            long extra = BinaryPrimitives.ReadUInt32BigEndian(directory.AsSpan(at + 20));
            AddBitmapTable(table, entries);
            at = (int)Math.Min((at + fixedLength + extra + name + 7) & ~7L, directory.Length);
        }
    }

    private void AddBitmapTable(long table, long entries)
    {
        if (table < 0 || entries * sizeof(ulong) > _file.Length - table)
        {
            Complain($"a bitmap table cannot be at {table}, {entries} entries");
            return;
        }
        AddRange(table, entries * sizeof(ulong), "a bitmap table");
        foreach (ulong entry in Qcow2Image.ReadL1(_file, table, (int)Math.Min(entries, Qcow2Header.LargestL1Bytes / 8)))
        {
            if (L2Entry.Offset(entry) is not 0 and var host && !Counts.Add(host >> _header.ClusterBits, 1))
                Complain($"a bitmap's cluster cannot be at {host}");
        }
    }
}
