namespace Trapline.Storage.Qcow2;

public sealed partial class Qcow2Image
{
    private static readonly byte[] ZeroBlock = new byte[1 << 16];

    private enum Clearing
    {
        /// <summary>Nothing is stored any more, and the backing image does not show through.</summary>
        Discard,

        /// <summary>Reads as zeroes, and the cluster stays allocated if it is.</summary>
        ZeroKeep,

        /// <summary>Nothing is stored any more; the backing image may show through.</summary>
        Drop,
    }

    /// <summary>Stores nothing any more: the disk reads as its backing image does.</summary>
    internal void Empty()
    {
        ClearClusters(0, (Length + _clusterSize - 1) & -_clusterSize, Clearing.Drop);
        FlushCore();
    }

    // Whole clusters only: of the rest nothing would be given back.
    private protected override void DiscardCore(long offset, long length)
    {
        long start = (offset + _clusterSize - 1) & -_clusterSize;
        long end = offset + length == Length ? (Length + _clusterSize - 1) & -_clusterSize : (offset + length) & -_clusterSize;
        if (end > start)
            ClearClusters(start, end, Clearing.Discard);
    }

    private protected override void WriteZeroesCore(long offset, long length, bool unmap)
    {
        long end = offset + length;
        long start = Math.Min((offset + _clusterSize - 1) & -_clusterSize, end);
        long stop = end == Length ? (end + _clusterSize - 1) & -_clusterSize : Math.Max(end & -_clusterSize, start);
        WriteZeroBytes(offset, start - offset);
        if (stop > start)
            ClearClusters(start, stop, unmap ? Clearing.Discard : Clearing.ZeroKeep);
        if (end > stop)
            WriteZeroBytes(stop, end - stop);
    }

    /// <summary>Less than a cluster.</summary>
    private void WriteZeroBytes(long offset, long length)
    {
        while (length > 0)
        {
            int part = (int)Math.Min(length, ZeroBlock.Length);
            if (!IsZeroNow(offset))
                WriteCore(offset, ZeroBlock.AsSpan(0, part));
            offset += part;
            length -= part;
        }
    }

    private bool IsZeroNow(long offset)
    {
        _passage.EnterReadLock();
        try
        {
            return ReadsAsZero(offset);
        }
        finally
        {
            _passage.ExitReadLock();
        }
    }

    /// <param name="start">At a cluster's start.</param>
    /// <param name="end">At a cluster's end.</param>
    private void ClearClusters(long start, long end, Clearing how)
    {
        while (start < end)
        {
            // One L2 table at a time, so that others get their turn.
            lock (_allocation)
            {
                MakeRoom();
                long stop = Math.Min(end, ((start >> (_clusterBits + _tableBits)) + 1) << (_clusterBits + _tableBits));
                ClearInTable(start, stop, how);
                start = stop;
            }
        }
    }

    private void ClearInTable(long start, long stop, Clearing how)
    {
        if (TableAt(_l1, start >> (_clusterBits + _tableBits)) == 0 && (_backing == null || how == Clearing.Drop))
            return;
        long table = 0;
        for (long offset = start; offset < stop; offset += _clusterSize)
        {
            Mapping now = Map(offset, _clusterSize);
            ulong cleared = Cleared(now, how);
            if (cleared == now.Entry)
                continue;
            if (table == 0)
                table = WritableTable(offset);
            _tables.Set(table, (int)(offset >> _clusterBits) & ((1 << _tableBits) - 1), cleared);
            if (L2Entry.Offset(cleared) == 0 || now.Kind == ExtentKind.Compressed)
                FreeLater(now.Entry);
        }
    }

    private ulong Cleared(in Mapping now, Clearing how) => how switch
    {
        Clearing.Drop => 0,
        // A cluster of ours alone stays; one that is shared could not be written in place anyway.
        Clearing.ZeroKeep when now.InPlace => now.Entry | L2Entry.Zero,
        Clearing.ZeroKeep when now.Kind == ExtentKind.Zero => now.Entry,
        _ when _backing == null && now.Kind == ExtentKind.Unallocated => 0,
        Clearing.Discard when _backing == null => 0,
        _ => L2Entry.Zero,
    };
}
