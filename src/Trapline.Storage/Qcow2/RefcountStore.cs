using System.Buffers.Binary;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>Which clusters of the file are in use, and how often (qcow2: Host cluster management). Used under the image's allocation lock.</summary>
/// <remarks>
/// Counts that go up may be written at any time: a crash then leaves a cluster unused at worst. So may the table's entries, once the blocks they point to
/// are there. Counts go down only after everything that pointed to the cluster is on stable storage without it, which is the image's business.
/// </remarks>
internal sealed class RefcountStore
{
    private readonly string _path;
    private readonly IImageFile _file;
    private readonly int _clusterBits;
    private readonly int _blockBits;
    private readonly RefcountWidth _width;
    private readonly MetadataCache _blocks;
    private readonly HashSet<long> _metadata;
    private readonly Action<long, int> _switchTable;
    private long[] _table;
    private long _tableOffset;
    private int _changedFrom = int.MaxValue, _changedTo;
    private long _next = 1;

    /// <param name="path">For messages.</param>
    /// <param name="file">The image's.</param>
    /// <param name="header">The image's.</param>
    /// <param name="metadata">Clusters that hold tables; kept up to date for blocks and the table.</param>
    /// <param name="switchTable">Writes the header with another place and size in clusters of the table, on stable storage when done.</param>
    public RefcountStore(string path, IImageFile file, Qcow2Header header, HashSet<long> metadata, Action<long, int> switchTable)
    {
        (_path, _file, _metadata, _switchTable) = (path, file, metadata, switchTable);
        _clusterBits = header.ClusterBits;
        _width = new RefcountWidth(header.RefcountOrder);
        _blockBits = _width.BlockBits(_clusterBits);
        _blocks = new MetadataCache(file, header.ClusterSize, Math.Clamp((4 << 20) >> _clusterBits, 8, 512));
        _tableOffset = header.RefcountTableOffset;
        FileEnd = (file.Length + header.ClusterSize - 1) & -header.ClusterSize;
        _table = ReadTable(header);
    }

    /// <summary>Where the file ends, or will when all that was allocated is written; what lies behind reads as zeroes.</summary>
    public long FileEnd { get; private set; }

    public bool HasChanges => _blocks.HasChanges || TableChanged;

    public bool IsCrowded => _blocks.IsCrowded;

    public ulong Largest => _width.Largest;

    private bool TableChanged => _changedTo > 0;

    private int ClusterSize => 1 << _clusterBits;

    public ulong Get(long cluster)
    {
        long index = cluster >> _blockBits;
        if (index >= _table.Length || _table[index] == 0)
            return 0;
        lock (_blocks.Gate)
            return _width.Get(_blocks.Load(_table[index]), (int)(cluster & ((1L << _blockBits) - 1)));
    }

    /// <exception cref="IOException">The count cannot be so high, or was zero already.</exception>
    public void Add(long cluster, int change)
    {
        ulong count = Get(cluster);
        if (!HasBlock(cluster) || (change < 0 && count == 0))
            throw new IOException($"'{_path}' is damaged: cluster {cluster} is in use but not counted; trapline image check --repair mends it");
        if (change > 0 && count >= _width.Largest)
            throw new IOException($"'{_path}': cluster {cluster} has {count} references, and counts of {_width.Bits} bits cannot have more");
        Set(cluster, count + (ulong)change);
        if (count == 1 && change < 0)
            _next = Math.Min(_next, cluster);
    }

    /// <summary>Takes clusters that follow each other, at least one.</summary>
    /// <returns>The first one's offset.</returns>
    public long Allocate(int wanted, out int got)
    {
        for (long cluster = _next; ; cluster++)
        {
            if (!EnsureBlock(cluster) || Get(cluster) != 0)
                continue;
            int count = 0;
            do
            {
                CheckFree(cluster + count);
                Set(cluster + count, 1);
                count++;
            }
            while (count < wanted && HasBlock(cluster + count) && Get(cluster + count) == 0);
            got = count;
            _next = cluster + count;
            FileEnd = Math.Max(FileEnd, _next << _clusterBits);
            return cluster << _clusterBits;
        }
    }

    /// <summary>Takes so many clusters that follow each other.</summary>
    public long AllocateWhole(int count)
    {
        long from = _next;
        while (true)
        {
            long cluster = from, end = from;
            while (end - cluster < count)
            {
                if (!EnsureBlock(end) || Get(end) != 0)
                    cluster = end + 1;
                end++;
            }
            // Making room for one count may have taken a cluster of those that were looked at before.
            if (!Enumerable.Range(0, count).All(i => Get(cluster + i) == 0))
                continue;
            for (long i = cluster; i < end; i++)
            {
                CheckFree(i);
                Set(i, 1);
            }
            FileEnd = Math.Max(FileEnd, end << _clusterBits);
            return cluster << _clusterBits;
        }
    }

    /// <summary>Blocks, and then the table's entries for new ones.</summary>
    public void Write()
    {
        _blocks.WriteChanges();
        if (!TableChanged)
            return;
        _file.Flush();
        byte[] entries = new byte[(_changedTo - _changedFrom) * sizeof(ulong)];
        for (int i = _changedFrom; i < _changedTo; i++)
            BinaryPrimitives.WriteInt64BigEndian(entries.AsSpan((i - _changedFrom) * sizeof(ulong)), _table[i]);
        _file.Write(_tableOffset + (_changedFrom * (long)sizeof(ulong)), entries);
        (_changedFrom, _changedTo) = (int.MaxValue, 0);
    }

    private long[] ReadTable(Qcow2Header header)
    {
        byte[] bytes = new byte[header.RefcountTableClusters << _clusterBits];
        _file.Read(_tableOffset, bytes);
        long[] table = new long[bytes.Length / sizeof(ulong)];
        for (int i = 0; i < header.RefcountTableClusters; i++)
            _metadata.Add((_tableOffset >> _clusterBits) + i);
        for (int i = 0; i < table.Length; i++)
        {
            table[i] = BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(i * sizeof(ulong)));
            if (table[i] == 0)
                continue;
            if ((table[i] & (ClusterSize - 1)) != 0 || table[i] < 0 || table[i] >= FileEnd || !_metadata.Add(table[i] >> _clusterBits))
                throw new Core.BadInputException($"'{_path}' is damaged: refcount block {i} cannot be at {table[i]}; trapline image check --repair mends it");
        }
        return table;
    }

    private void CheckFree(long cluster)
    {
        if (cluster == 0 || _metadata.Contains(cluster))
            throw new IOException($"'{_path}' is damaged: cluster {cluster} is in use but not counted; trapline image check --repair mends it");
    }

    private bool HasBlock(long cluster) => cluster >> _blockBits < _table.Length && _table[cluster >> _blockBits] != 0;

    /// <summary>Makes the block that counts a cluster. If there was none, the cluster is taken for it: false.</summary>
    private bool EnsureBlock(long cluster)
    {
        if (HasBlock(cluster))
            return true;
        int index = (int)(cluster >> _blockBits);
        if (index >= _table.Length)
        {
            GrowTable(index);
            return HasBlock(cluster);
        }
        CheckFree(cluster);
        AddBlock(index, cluster);
        Set(cluster, 1);
        FileEnd = Math.Max(FileEnd, (cluster + 1) << _clusterBits);
        return false;
    }

    private void AddBlock(int index, long at)
    {
        _blocks.Create(at << _clusterBits);
        _table[index] = at << _clusterBits;
        _changedFrom = Math.Min(_changedFrom, index);
        _changedTo = Math.Max(_changedTo, index + 1);
        _metadata.Add(at);
    }

    /// <summary>A larger table at the end of the file, with the blocks that count it and themselves.</summary>
    private void GrowTable(int index)
    {
        int perCluster = ClusterSize / sizeof(ulong);
        index = Math.Max(index, (int)Math.Min(FileEnd >> _clusterBits >> _blockBits, Qcow2Header.LargestRefcountTableBytes));
        int clusters = ((index + 1 + (index / 2)) / perCluster) + 2;
        if ((long)clusters << _clusterBits > Qcow2Header.LargestRefcountTableBytes)
            throw new IOException($"'{_path}' cannot grow: its refcount table has reached its largest size");
        Write();
        long first = Math.Max(FileEnd >> _clusterBits, _next), end = first + clusters;
        (long[] old, long oldOffset) = (_table, _tableOffset);
        _table = new long[clusters * perCluster];
        old.CopyTo(_table, 0);
        // Blocks lie right behind the table; each new one may need another one, once in a block's worth of clusters.
        for (long cluster = first; cluster < end; cluster++)
        {
            if (!HasBlock(cluster))
                AddBlock((int)(cluster >> _blockBits), end++);
        }
        for (long cluster = first; cluster < end; cluster++)
            Set(cluster, 1);
        for (long cluster = first; cluster < first + clusters; cluster++)
            _metadata.Add(cluster);
        FileEnd = Math.Max(FileEnd, end << _clusterBits);
        _tableOffset = first << _clusterBits;
        (_changedFrom, _changedTo) = (0, _table.Length);
        Write();
        _file.Flush();
        _switchTable(_tableOffset, clusters);
        for (int i = 0; i < old.Length / perCluster; i++)
        {
            long cluster = (oldOffset >> _clusterBits) + i;
            _metadata.Remove(cluster);
            Add(cluster, -1);
        }
    }

    private void Set(long cluster, ulong value)
    {
        long block = _table[cluster >> _blockBits];
        lock (_blocks.Gate)
        {
            byte[] data = _blocks.Load(block);
            int at = _width.Set(data, (int)(cluster & ((1L << _blockBits) - 1)), value);
            _blocks.Changed(block, at, Math.Max(1, _width.Bits / 8));
        }
    }
}
