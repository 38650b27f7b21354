using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>Writes all reference counts anew, behind the end of the file, so that the old ones are good until the header points to the new ones.</summary>
internal static class RefcountBuilder
{
    /// <summary>Writes table and blocks and waits until they are on stable storage.</summary>
    /// <returns>The header that points to them, for the caller to write.</returns>
    /// <exception cref="BadInputException">A count or the table gets too large.</exception>
    public static Qcow2Header Build(string path, IImageFile file, Qcow2Header header, ReferenceCounts counts)
    {
        RefcountWidth width = new(header.RefcountOrder);
        int blockBits = width.BlockBits(header.ClusterBits);
        SortedSet<long> ranges = [.. counts.Used().Select(u => u.Cluster >> blockBits).Distinct()];
        (long first, int tableClusters) = (counts.Clusters, 0);
        // Blocks count themselves and the table: more of them may need more of them, until nothing changes.
        while (true)
        {
            long end = first + tableClusters + ranges.Count;
            int before = ranges.Count, needed = (int)(((((end - 1) >> blockBits) + 1) * sizeof(ulong) + header.ClusterSize - 1) >> header.ClusterBits);
            for (long range = first >> blockBits; range <= (end - 1) >> blockBits; range++)
                ranges.Add(range);
            if (ranges.Count == before && needed == tableClusters)
                break;
            tableClusters = needed;
            if ((long)tableClusters << header.ClusterBits > Qcow2Header.LargestRefcountTableBytes)
                throw new BadInputException($"'{path}' is too large for reference counts of {width.Bits} bits in clusters of {header.ClusterSize} bytes");
        }
        long last = first + tableClusters + ranges.Count, blockAt = first + tableClusters;
        byte[] table = new byte[tableClusters << header.ClusterBits], block = new byte[header.ClusterSize];
        file.SetLength(last << header.ClusterBits);
        foreach (long range in ranges)
        {
            Array.Clear(block);
            for (int i = 0; i < 1 << blockBits; i++)
            {
                long cluster = (range << blockBits) + i;
                ulong count = cluster >= first && cluster < last ? 1 : counts[cluster];
                if (count > width.Largest)
                    throw new BadInputException($"'{path}': cluster {cluster} has {count} references, too many for counts of {width.Bits} bits");
                if (count != 0)
                    width.Set(block, i, count);
            }
            file.Write(blockAt << header.ClusterBits, block);
            BinaryPrimitives.WriteInt64BigEndian(table.AsSpan((int)range * sizeof(ulong)), blockAt << header.ClusterBits);
            blockAt++;
        }
        file.Write(first << header.ClusterBits, table);
        file.Flush();
        return header with { RefcountTableOffset = first << header.ClusterBits, RefcountTableClusters = tableClusters };
    }
}
