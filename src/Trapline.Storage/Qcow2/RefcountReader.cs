using System.Buffers.Binary;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>The reference counts as they are in the file, for a check of them.</summary>
internal sealed class RefcountReader
{
    private readonly IImageFile _file;
    private readonly Qcow2Header _header;
    private readonly RefcountWidth _width;
    private readonly SortedDictionary<long, long> _blocks = [];
    private readonly byte[] _block;
    private long _loaded = -1;

    private RefcountReader(IImageFile file, Qcow2Header header)
    {
        (_file, _header, _width) = (file, header, new RefcountWidth(header.RefcountOrder));
        _block = new byte[header.ClusterSize];
    }

    /// <summary>Reads the table; what it and the blocks take is added to the walk's counts, what cannot be to its errors.</summary>
    public static RefcountReader Of(IImageFile file, Qcow2Header header, ReferenceWalk walk)
    {
        RefcountReader reader = new(file, header);
        long length = (long)header.RefcountTableClusters << header.ClusterBits;
        walk.AddRange(header.RefcountTableOffset, length, "the refcount table");
        HashSet<long> seen = [];
        ulong[] table = Qcow2Image.ReadL1(file, header.RefcountTableOffset, (int)(length / sizeof(ulong)));
        for (int i = 0; i < table.Length; i++)
        {
            long offset = (long)table[i];
            if (offset == 0)
                continue;
            if ((offset & (header.ClusterSize - 1)) != 0 || offset < 0 || offset >= file.Length || !seen.Add(offset))
            {
                walk.Complain($"refcount block {i} cannot be at {offset}");
                continue;
            }
            walk.Counts.Add(offset >> header.ClusterBits, 1);
            reader._blocks[i] = offset;
        }
        return reader;
    }

    public ulong Get(long cluster)
    {
        int blockBits = _width.BlockBits(_header.ClusterBits);
        return _blocks.ContainsKey(cluster >> blockBits) ? _width.Get(Load(cluster >> blockBits), (int)(cluster & ((1L << blockBits) - 1))) : 0;
    }

    /// <summary>All clusters with a count, in order.</summary>
    public IEnumerable<(long Cluster, ulong Count)> NonZero()
    {
        int blockBits = _width.BlockBits(_header.ClusterBits);
        foreach (long range in _blocks.Keys)
        {
            if (Load(range).AsSpan().IndexOfAnyExcept((byte)0) < 0)
                continue;
            for (int i = 0; i < 1 << blockBits; i++)
            {
                ulong count = _width.Get(Load(range), i);
                if (count != 0)
                    yield return ((range << blockBits) + i, count);
            }
        }
    }

    private byte[] Load(long range)
    {
        if (_loaded != range)
            _file.Read(_blocks[range], _block);
        _loaded = range;
        return _block;
    }
}
