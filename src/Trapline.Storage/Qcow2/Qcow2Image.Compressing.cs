using System.IO.Compression;
using Trapline.Host;

namespace Trapline.Storage.Qcow2;

public sealed partial class Qcow2Image
{
    /// <summary>Readers unpack with a window of 4 KiB, so no match may reach further back.</summary>
    private const int DeflateWindow = 4096;

    private long _packedAt, _packedEnd;

    /// <summary>Bytes of a cluster, the unit of <see cref="WriteCompressed"/>.</summary>
    public int ClusterSize => _clusterSize;

    /// <summary>Writes one cluster compressed, or as it is where that saves nothing.</summary>
    /// <param name="offset">At a cluster's start.</param>
    /// <param name="cluster">A whole cluster, or what the disk's end leaves of it.</param>
    public void WriteCompressed(long offset, ReadOnlySpan<byte> cluster)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(offset & (_clusterSize - 1), 0, nameof(offset));
        byte[] whole = new byte[_clusterSize], packed = new byte[_clusterSize];
        cluster.CopyTo(whole);
        int length = _header.Compression == Qcow2Compression.Zstd ? Zstandard.Pack(whole, packed) : Deflate(whole, packed);
        if (length == 0 || length > _clusterSize - SectorSize)
        {
            Write(offset, cluster);
            return;
        }
        lock (_allocation)
        {
            MakeRoom();
            long table = WritableTable(offset);
            int index = (int)(offset >> _clusterBits) & ((1 << _tableBits) - 1);
            ulong old = _tables.Get(table, index);
            long at = TakeBytes(length);
            _file.Write(at, packed.AsSpan(0, length));
            _tables.Set(table, index, L2Entry.MakeCompressed(at, length, _clusterBits));
            FreeLater(old);
        }
    }

    /// <summary>Room behind the last compressed cluster, or in a new one. Each cluster touched has one reference more.</summary>
    private long TakeBytes(int length)
    {
        // Narrow counts cannot count many users of one cluster.
        if (_packedEnd > _packedAt && Refcounts.Get(_packedAt >> _clusterBits) == Refcounts.Largest)
            _packedAt = _packedEnd;
        long at = _packedAt;
        int room = (int)(_packedEnd - at);
        if (length > room)
        {
            long taken = Refcounts.Allocate(1, out _);
            // The next cluster's own reference is counted below with the others.
            Refcounts.Add(taken >> _clusterBits, -1);
            if (taken != _packedEnd || room == 0)
                at = taken;
            _packedEnd = taken + _clusterSize;
        }
        long last = (at + length - 1) >> _clusterBits;
        for (long cluster = at >> _clusterBits; cluster <= last; cluster++)
            Refcounts.Add(cluster, 1);
        _packedAt = at + length;
        return at;
    }

    /// <summary>A cluster was freed: what room it had is not ours any more.</summary>
    private void ForgetPacking(long cluster)
    {
        if (_packedEnd != 0 && (cluster == _packedAt >> _clusterBits || cluster == (_packedEnd - 1) >> _clusterBits))
            (_packedAt, _packedEnd) = (0, 0);
    }

    /// <summary>Deflates without a header, in blocks that do not look back: all of them together are one stream.</summary>
    private static int Deflate(byte[] source, byte[] target)
    {
        int length = 0;
        for (int at = 0; at < source.Length; at += DeflateWindow)
        {
            int part = Math.Min(DeflateWindow, source.Length - at);
            using MemoryStream packed = new();
            using DeflateStream stream = new(packed, CompressionLevel.Optimal, leaveOpen: true);
            stream.Write(source, at, part);
            // A flush ends at a byte and leaves the stream open; its end is only wanted of the last part.
            if (at + part < source.Length)
                stream.Flush();
            else
                stream.Dispose();
            if (packed.Length > target.Length - length)
                return 0;
            packed.GetBuffer().AsSpan(0, (int)packed.Length).CopyTo(target.AsSpan(length));
            length += (int)packed.Length;
        }
        return length;
    }
}
