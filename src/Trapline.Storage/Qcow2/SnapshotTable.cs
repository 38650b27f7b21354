using System.Buffers.Binary;
using System.Text;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>One entry of the snapshot table (qcow2: Snapshots).</summary>
internal sealed record SnapshotRecord
{
    public required string Id { get; init; }

    public required string Name { get; init; }

    public required long L1Offset { get; init; }

    public required int L1Entries { get; init; }

    public uint Seconds { get; init; }

    public uint Nanoseconds { get; init; }

    public ulong GuestNanoseconds { get; init; }

    public ulong VmStateSize { get; init; }

    /// <summary>Null in version 2, where it may be left out: as long as the disk is.</summary>
    public long? DiskSize { get; init; }

    /// <summary>Extra data behind what we know, kept.</summary>
    public byte[] Rest { get; init; } = [];
}

/// <summary>The snapshot table as bytes (qcow2: Snapshots).</summary>
internal static class SnapshotTable
{
    private const int FixedLength = 40, KnownExtra = 16, MostExtra = 1024;
    private const int LongestTable = 64 << 20;

    /// <summary>Reads the table; false if it is malformed.</summary>
    /// <param name="length">Its bytes.</param>
    public static bool TryRead(IImageFile file, Qcow2Header header, out List<SnapshotRecord> snapshots, out long length)
    {
        snapshots = [];
        length = 0;
        Span<byte> start = stackalloc byte[FixedLength];
        for (int i = 0; i < header.SnapshotCount; i++)
        {
            long at = header.SnapshotOffset + length;
            if (at + FixedLength > file.Length || length > LongestTable)
                return false;
            file.Read(at, start);
            int id = BinaryPrimitives.ReadUInt16BigEndian(start[12..]), name = BinaryPrimitives.ReadUInt16BigEndian(start[14..]);
            uint extra = BinaryPrimitives.ReadUInt32BigEndian(start[36..]);
            ulong l1 = BinaryPrimitives.ReadUInt64BigEndian(start);
            uint entries = BinaryPrimitives.ReadUInt32BigEndian(start[8..]);
            if (extra > MostExtra || entries > Qcow2Header.LargestL1Bytes / sizeof(ulong) || l1 > (ulong)L2Entry.OffsetMask)
                return false;
            byte[] rest = new byte[extra + id + name];
            file.Read(at + FixedLength, rest);
            snapshots.Add(Parse(start, rest, (int)extra, id));
            length += (FixedLength + rest.Length + 7) & ~7;
        }
        return true;
    }

    public static byte[] ToBytes(IEnumerable<SnapshotRecord> snapshots)
    {
        using MemoryStream table = new();
        foreach (SnapshotRecord snapshot in snapshots)
        {
            byte[] id = Encoding.UTF8.GetBytes(snapshot.Id), name = Encoding.UTF8.GetBytes(snapshot.Name);
            byte[] start = new byte[FixedLength + KnownExtra];
            BinaryPrimitives.WriteInt64BigEndian(start, snapshot.L1Offset);
            BinaryPrimitives.WriteInt32BigEndian(start.AsSpan(8), snapshot.L1Entries);
            BinaryPrimitives.WriteUInt16BigEndian(start.AsSpan(12), (ushort)id.Length);
            BinaryPrimitives.WriteUInt16BigEndian(start.AsSpan(14), (ushort)name.Length);
            BinaryPrimitives.WriteUInt32BigEndian(start.AsSpan(16), snapshot.Seconds);
            BinaryPrimitives.WriteUInt32BigEndian(start.AsSpan(20), snapshot.Nanoseconds);
            BinaryPrimitives.WriteUInt64BigEndian(start.AsSpan(24), snapshot.GuestNanoseconds);
            BinaryPrimitives.WriteUInt32BigEndian(start.AsSpan(32), (uint)Math.Min(snapshot.VmStateSize, uint.MaxValue));
            BinaryPrimitives.WriteInt32BigEndian(start.AsSpan(36), KnownExtra + snapshot.Rest.Length);
            BinaryPrimitives.WriteUInt64BigEndian(start.AsSpan(40), snapshot.VmStateSize);
            BinaryPrimitives.WriteInt64BigEndian(start.AsSpan(48), snapshot.DiskSize ?? 0);
            table.Write(start);
            table.Write(snapshot.Rest);
            table.Write(id);
            table.Write(name);
            table.Write(new byte[-(int)table.Length & 7]);
        }
        return table.ToArray();
    }

    private static SnapshotRecord Parse(ReadOnlySpan<byte> start, ReadOnlySpan<byte> rest, int extra, int id) => new()
    {
        L1Offset = BinaryPrimitives.ReadInt64BigEndian(start),
        L1Entries = BinaryPrimitives.ReadInt32BigEndian(start[8..]),
        Seconds = BinaryPrimitives.ReadUInt32BigEndian(start[16..]),
        Nanoseconds = BinaryPrimitives.ReadUInt32BigEndian(start[20..]),
        GuestNanoseconds = BinaryPrimitives.ReadUInt64BigEndian(start[24..]),
        VmStateSize = extra >= 8 ? BinaryPrimitives.ReadUInt64BigEndian(rest) : BinaryPrimitives.ReadUInt32BigEndian(start[32..]),
        DiskSize = extra >= 16 ? BinaryPrimitives.ReadInt64BigEndian(rest[8..]) : null,
        Rest = extra > KnownExtra ? rest[KnownExtra..extra].ToArray() : [],
        Id = Encoding.UTF8.GetString(rest.Slice(extra, id)),
        Name = Encoding.UTF8.GetString(rest[(extra + id)..]),
    };
}
