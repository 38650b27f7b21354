using System.Buffers.Binary;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>The flags in the active tables that say "referred to once, may be written in place" (qcow2: Cluster mapping), looked at against a count.</summary>
internal static class CopiedFlags
{
    /// <summary>How many flags are wrong, by the counts in the image: a cluster that is counted too often is not writable in place, and rightly so.</summary>
    public static long CountWrong(IImageFile file, Qcow2Header header, Func<long, ulong> counts) => Go(file, header, counts, mend: false);

    /// <summary>Sets them right in the file; entries that cannot be, point nowhere then.</summary>
    public static void Mend(IImageFile file, Qcow2Header header, ReferenceWalk walk)
    {
        Go(file, header, cluster => walk.Counts[cluster], mend: true);
        file.Flush();
    }

    private static long Go(IImageFile file, Qcow2Header header, Func<long, ulong> counts, bool mend)
    {
        long wrong = 0;
        HashSet<long> seen = [];
        byte[] table = new byte[header.ClusterSize];
        ulong[] l1 = Qcow2Image.ReadL1(file, header.L1Offset, header.L1Entries);
        byte[] first = new byte[sizeof(ulong)];
        for (int i = 0; i < l1.Length; i++)
        {
            if (l1[i] == 0)
                continue;
            long offset = L2Entry.Offset(l1[i]);
            bool valid = ReferenceWalk.IsTable(offset, header, file.Length);
            ulong right = !valid || offset == 0 ? 0 : With(l1[i], counts(offset >> header.ClusterBits) == 1);
            if (right != l1[i])
            {
                wrong++;
                BinaryPrimitives.WriteUInt64BigEndian(first, right);
                if (mend)
                    file.Write(header.L1Offset + (i * (long)sizeof(ulong)), first);
            }
            if (!valid || offset == 0 || !seen.Add(offset))
                continue;
            file.Read(offset, table);
            long changed = Go(table, header, counts, file.Length);
            wrong += changed;
            if (mend && changed > 0)
                file.Write(offset, table);
        }
        return wrong;
    }

    private static long Go(byte[] table, Qcow2Header header, Func<long, ulong> counts, long fileLength)
    {
        long wrong = 0;
        for (int i = 0; i < table.Length; i += sizeof(ulong))
        {
            ulong entry = BinaryPrimitives.ReadUInt64BigEndian(table.AsSpan(i));
            if (entry == 0)
                continue;
            ulong right = Right(entry, header, counts, fileLength);
            if (right == entry)
                continue;
            wrong++;
            BinaryPrimitives.WriteUInt64BigEndian(table.AsSpan(i), right);
        }
        return wrong;
    }

    private static ulong Right(ulong entry, Qcow2Header header, Func<long, ulong> counts, long fileLength)
    {
        if ((entry & L2Entry.Compressed) != 0)
        {
            long start = L2Entry.CompressedRange(entry, header.ClusterBits).Offset >> header.ClusterBits;
            return start << header.ClusterBits < fileLength ? With(entry, false) : 0;
        }
        long host = L2Entry.Offset(entry);
        if (host == 0)
            return With(entry, false);
        bool valid = (host & (header.ClusterSize - 1)) == 0 && host < fileLength;
        return valid ? With(entry, counts(host >> header.ClusterBits) == 1) : 0;
    }

    private static ulong With(ulong entry, bool copied) => copied ? entry | L2Entry.Copied : entry & ~L2Entry.Copied;
}
