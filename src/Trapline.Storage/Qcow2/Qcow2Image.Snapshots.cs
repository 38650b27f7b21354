using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Trapline.Core;

namespace Trapline.Storage.Qcow2;

/// <summary>A snapshot within an image.</summary>
/// <param name="Id">A number, unique in the image.</param>
/// <param name="Name">As its maker named it.</param>
/// <param name="Taken">When, UTC.</param>
/// <param name="DiskSize">The disk's length then, bytes.</param>
/// <param name="VmStateSize">Bytes of a machine's state beside the disk's, as QEMU saves it; zero if there is none.</param>
public sealed record Qcow2Snapshot(string Id, string Name, DateTime Taken, long DiskSize, ulong VmStateSize);

public sealed partial class Qcow2Image
{
    private const int LongestSnapshotName = 255;

    /// <summary>What an interrupted change of the whole image may have left of the reference counts: the dirty bit then stays.</summary>
    private bool _countsUnsure;

    /// <summary>The image's snapshots, in the order in which they were taken.</summary>
    /// <exception cref="IOException">The table is damaged.</exception>
    public IReadOnlyList<Qcow2Snapshot> Snapshots => [.. ReadSnapshots().Select(s =>
        new Qcow2Snapshot(s.Id, s.Name, DateTime.UnixEpoch.AddSeconds(s.Seconds), s.DiskSize ?? Length, s.VmStateSize))];

    /// <summary>Keeps the disk's content as it is now.</summary>
    /// <exception cref="BadInputException">The name is there already or cannot be one.</exception>
    public void CreateSnapshot(string name, DateTime taken) => Alone(() =>
    {
        List<SnapshotRecord> snapshots = ReadSnapshots();
        if (name.Length is 0 or > LongestSnapshotName || snapshots.Any(s => s.Name == name || s.Id == name))
            throw new BadInputException($"'{Path}' cannot have a snapshot '{name}': choose a name that is not there yet, of at most {LongestSnapshotName} characters");
        if (Refcounts.Largest < 2 || snapshots.Count == Qcow2Header.MostSnapshots)
            throw new BadInputException($"'{Path}' cannot have {(Refcounts.Largest < 2 ? "snapshots: its reference counts have one bit" : "more snapshots")}");
        Unordered(() =>
        {
            ChangeTree(_l1, 1);
            int last = snapshots.Max(s => int.TryParse(s.Id, CultureInfo.InvariantCulture, out int id) ? id : 0 as int?) ?? 0;
            snapshots.Add(new SnapshotRecord
            {
                Id = (last + 1).ToString(CultureInfo.InvariantCulture),
                Name = name,
                L1Offset = WriteL1Copy(_l1, _l1.Length),
                L1Entries = _l1.Length,
                Seconds = (uint)(taken - DateTime.UnixEpoch).TotalSeconds,
                DiskSize = _header.Size,
            });
            MendCopied();
            WriteSnapshots(snapshots);
        });
    });

    /// <summary>Gives the disk the content of a snapshot; what it has now is lost.</summary>
    /// <param name="nameOrId">A name, or else an id.</param>
    /// <exception cref="BadInputException">There is no such snapshot.</exception>
    public void ApplySnapshot(string nameOrId) => Alone(() =>
    {
        SnapshotRecord snapshot = Find(ReadSnapshots(), nameOrId);
        long size = snapshot.DiskSize ?? _header.Size;
        int entries = (int)Math.Max(snapshot.L1Entries, Qcow2Header.L1EntriesFor(size, _clusterBits));
        Unordered(() =>
        {
            ulong[] l1 = new ulong[entries];
            ReadL1(_file, snapshot.L1Offset, snapshot.L1Entries).CopyTo(l1, 0);
            ChangeTree(l1, 1);
            (ulong[] old, long oldOffset) = (_l1, _header.L1Offset);
            UseL1(l1, WriteL1Copy(l1, l1.Length), size);
            ChangeTree(old, -1);
            Free(oldOffset, old.Length * (long)sizeof(ulong));
            MendCopied();
        });
    });

    /// <summary>Forgets a snapshot.</summary>
    /// <param name="nameOrId">A name, or else an id.</param>
    /// <exception cref="BadInputException">There is no such snapshot.</exception>
    public void DeleteSnapshot(string nameOrId) => Alone(() =>
    {
        List<SnapshotRecord> snapshots = ReadSnapshots();
        SnapshotRecord snapshot = Find(snapshots, nameOrId);
        snapshots.Remove(snapshot);
        Unordered(() =>
        {
            ulong[] l1 = ReadL1(_file, snapshot.L1Offset, snapshot.L1Entries);
            WriteSnapshots(snapshots);
            ChangeTree(l1, -1);
            Free(snapshot.L1Offset, snapshot.L1Entries * (long)sizeof(ulong));
            MendCopied();
        });
    });

    private SnapshotRecord Find(List<SnapshotRecord> snapshots, string nameOrId) =>
        snapshots.Find(s => s.Name == nameOrId) ?? snapshots.Find(s => s.Id == nameOrId)
        ?? throw new BadInputException($"'{Path}' has no snapshot '{nameOrId}': trapline image snapshot -l lists them");

    private List<SnapshotRecord> ReadSnapshots() => SnapshotTable.TryRead(_file, _header, out List<SnapshotRecord> snapshots, out _)
        ? snapshots
        : throw Damaged("its snapshot table cannot be read");

    /// <summary>Does something while nobody else uses the image.</summary>
    private void Alone(Action change)
    {
        if (IsReadOnly)
            throw new IOException($"'{Path}' is open for reading only");
        lock (_allocation)
        {
            _passage.EnterWriteLock();
            try
            {
                change();
            }
            finally
            {
                _passage.ExitWriteLock();
            }
        }
    }

    /// <summary>Does something that leaves wrong reference counts if it is interrupted: the dirty bit says so meanwhile.</summary>
    private void Unordered(Action change)
    {
        FlushMetadata();
        if (!IsDirty)
            SetDirty(true);
        bool unsure = _countsUnsure;
        _countsUnsure = true;
        change();
        _countsUnsure = unsure;
        Settle();
    }

    /// <summary>All that an L1 table leads to has one reference more or less.</summary>
    private void ChangeTree(ulong[] l1, int change)
    {
        for (int i = 0; i < l1.Length; i++)
        {
            long table = TableAt(l1, i);
            if (table == 0)
                continue;
            for (int entry = 0; entry < 1 << _tableBits; entry++)
                ChangeEntry(_tables.Get(table, entry), change);
            ChangeCluster(table >> _clusterBits, change);
            if (Refcounts.IsCrowded)
                FlushMetadata(countsToo: true);
        }
    }

    private void ChangeEntry(ulong entry, int change)
    {
        if ((entry & L2Entry.Compressed) != 0)
        {
            (long offset, int length) = L2Entry.CompressedRange(entry, _clusterBits);
            for (long cluster = offset >> _clusterBits; cluster <= (offset + length - 1) >> _clusterBits; cluster++)
                ChangeCluster(cluster, change);
        }
        else if (HostOf(entry) is not 0 and var host)
            ChangeCluster(host >> _clusterBits, change);
    }

    private void ChangeCluster(long cluster, int change)
    {
        Refcounts.Add(cluster, change);
        if (change < 0 && Refcounts.Get(cluster) == 0)
        {
            _tables.Forget(cluster << _clusterBits);
            _metadata.Remove(cluster);
            ForgetPacking(cluster);
            Punch(cluster, cluster + 1);
        }
    }

    private void Free(long offset, long length)
    {
        for (long cluster = offset >> _clusterBits; cluster < (offset + length + _clusterSize - 1) >> _clusterBits; cluster++)
            ChangeCluster(cluster, -1);
    }

    /// <summary>Sets the flags of the active tables by the reference counts.</summary>
    private void MendCopied()
    {
        for (int i = 0; i < _l1.Length; i++)
        {
            long table = TableAt(_l1, i);
            if (table == 0)
                continue;
            for (int index = 0; index < 1 << _tableBits; index++)
            {
                ulong entry = _tables.Get(table, index);
                bool once = (entry & L2Entry.Compressed) == 0 && HostOf(entry) is not 0 and var host && Refcounts.Get(host >> _clusterBits) == 1;
                ulong right = once ? entry | L2Entry.Copied : entry & ~L2Entry.Copied;
                if (right != entry)
                    _tables.Set(table, index, right);
            }
            bool own = Refcounts.Get(table >> _clusterBits) == 1;
            ulong rightTable = own ? _l1[i] | L2Entry.Copied : _l1[i] & ~L2Entry.Copied;
            if (rightTable != _l1[i])
                SetL1(i, rightTable);
            if (own)
                _metadata.Add(table >> _clusterBits);
            if (_tables.IsCrowded)
                FlushMetadata(countsToo: true);
        }
        FlushMetadata(countsToo: true);
    }

    /// <summary>Writes an L1 table into clusters of its own. Its entries say "shared".</summary>
    private long WriteL1Copy(ulong[] l1, int entries)
    {
        byte[] bytes = new byte[entries * sizeof(ulong)];
        for (int i = 0; i < l1.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * sizeof(ulong)), l1[i] & ~L2Entry.Copied);
        return WriteNewClusters(bytes);
    }

    private long WriteNewClusters(byte[] content)
    {
        int clusters = Math.Max(1, (content.Length + _clusterSize - 1) >> _clusterBits);
        long offset = Refcounts.AllocateWhole(clusters);
        byte[] whole = new byte[clusters << _clusterBits];
        content.CopyTo(whole, 0);
        _file.Write(offset, whole);
        return offset;
    }

    /// <summary>Makes an L1 table that is in the file the active one.</summary>
    private void UseL1(ulong[] l1, long offset, long size)
    {
        FlushMetadata(countsToo: true);
        WriteHeader(_header with { L1Offset = offset, L1Entries = l1.Length, Size = size });
        AddTable(offset, l1.Length * (long)sizeof(ulong));
        Volatile.Write(ref _l1, [.. l1.Select(e => e & ~L2Entry.Copied)]);
        Volatile.Write(ref _size, RoundUp(size));
    }

    private void WriteSnapshots(List<SnapshotRecord> snapshots)
    {
        SnapshotTable.TryRead(_file, _header, out _, out long oldLength);
        (int oldCount, long oldOffset) = (_header.SnapshotCount, _header.SnapshotOffset);
        long offset = snapshots.Count == 0 ? 0 : WriteNewClusters(SnapshotTable.ToBytes(snapshots));
        FlushMetadata(countsToo: true);
        WriteHeader(_header with { SnapshotCount = snapshots.Count, SnapshotOffset = offset });
        if (oldCount > 0)
            Free(oldOffset, oldLength);
    }
}
