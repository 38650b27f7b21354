using Trapline.Core;

namespace Trapline.Storage.Qcow2;

public sealed partial class Qcow2Image
{
    /// <inheritdoc/>
    public override void Resize(long length)
    {
        if (IsReadOnly)
            throw new IOException($"'{Path}' is open for reading only");
        if (length <= 0 || length % SectorSize != 0)
            throw new BadInputException($"'{Path}' cannot have {length} bytes: give a multiple of {SectorSize}");
        if (Qcow2Header.L1EntriesFor(length, _clusterBits) > Qcow2Header.LargestL1Bytes / sizeof(ulong))
            throw new BadInputException($"'{Path}' cannot have {length} bytes: clusters of {_clusterSize} bytes are too small for that");
        long old = Length;
        if (length < old)
        {
            lock (_allocation)
            {
                WriteHeaderSize(length);
                Volatile.Write(ref _size, length);
            }
            ClearClusters((length + _clusterSize - 1) & -_clusterSize, (old + _clusterSize - 1) & -_clusterSize, Clearing.Drop);
            FlushCore();
            return;
        }
        Alone(() => GrowL1(length));
        // What the last cluster holds past the old end, and what the backing image has there, must not show.
        long hidden = Math.Min(length, Math.Max((old + _clusterSize - 1) & -_clusterSize, _backing?.Length ?? 0));
        if (hidden > old)
            WriteZeroesCore(old, hidden - old, unmap: true);
        lock (_allocation)
        {
            FlushMetadata();
            WriteHeaderSize(length);
            Volatile.Write(ref _size, length);
        }
    }

    private void WriteHeaderSize(long size)
    {
        FlushMetadata();
        WriteHeader(_header with { Size = size });
    }

    /// <summary>Clusters of the old table wait to be freed like any others, now that the header has another one.</summary>
    private void GrowL1(long length)
    {
        int entries = (int)Qcow2Header.L1EntriesFor(length, _clusterBits);
        if (entries <= _l1.Length)
            return;
        ulong[] l1 = new ulong[entries];
        _l1.CopyTo(l1, 0);
        FlushMetadata();
        (long oldOffset, int oldEntries) = (_header.L1Offset, _l1.Length);
        long offset = WriteNewL1(l1);
        FlushMetadata(countsToo: true);
        WriteHeader(_header with { L1Offset = offset, L1Entries = entries });
        AddTable(offset, entries * (long)sizeof(ulong));
        Volatile.Write(ref _l1, l1);
        int clusters = (int)((oldEntries * (long)sizeof(ulong) + _clusterSize - 1) >> _clusterBits);
        for (int i = 0; i < clusters; i++)
            _metadata.Remove((oldOffset >> _clusterBits) + i);
        FreeClustersLater(oldOffset, clusters);
    }

    private long WriteNewL1(ulong[] l1)
    {
        byte[] bytes = new byte[l1.Length * sizeof(ulong)];
        for (int i = 0; i < l1.Length; i++)
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * sizeof(ulong)), l1[i]);
        return WriteNewClusters(bytes);
    }
}
