using System.Buffers.Binary;
using System.Text;
using Trapline.Core;

namespace Trapline.Storage.Qcow2;

/// <summary>The first cluster of an image: header, extensions, name of the backing image (qcow2: Header, Header extensions).</summary>
internal sealed record Qcow2Header
{
    public const int FixedLength = 104;

    /// <summary>What one sector holds: written at once, it is there whole or not at all.</summary>
    public const int SwitchedLength = FixedLength;

    public const int IncompatibleOffset = 72, AutoclearOffset = 88;
    public const int SmallestClusterBits = 9, LargestClusterBits = 21;

    /// <summary>Bounds of QEMU's, too: what images ask us to keep in memory.</summary>
    public const int LargestL1Bytes = 32 << 20, LargestRefcountTableBytes = 8 << 20, MostSnapshots = 65536;

    private const int Version2Length = 72, Version3Length = 112;
    private const int LongestBackingName = 1023;
    private const uint BackingFormatType = 0xE2792ACA, FeatureNameType = 0x6803F857, BitmapType = 0x23852875;
    private const int FeatureNameLength = 48;

    private static readonly (byte Kind, byte Bit, string Name)[] KnownNames =
    [
        (0, 0, "dirty bit"), (0, 1, "corrupt bit"), (0, 2, "external data file"), (0, 3, "compression type"), (0, 4, "extended L2 entries"),
        (1, 0, "lazy refcounts"), (2, 0, "bitmaps"),
    ];

    public uint Version { get; init; } = 3;

    public string? BackingName { get; init; }

    /// <summary>As the image says: raw, qcow2, or something else; null if it does not say.</summary>
    public string? BackingFormat { get; init; }

    public required int ClusterBits { get; init; }

    public required long Size { get; init; }

    public int L1Entries { get; init; }

    public long L1Offset { get; init; }

    public long RefcountTableOffset { get; init; }

    public int RefcountTableClusters { get; init; }

    public int SnapshotCount { get; init; }

    public long SnapshotOffset { get; init; }

    public IncompatibleFeatures Incompatible { get; init; }

    public CompatibleFeatures Compatible { get; init; }

    public AutoclearFeatures Autoclear { get; init; }

    public int RefcountOrder { get; init; } = 4;

    public Qcow2Compression Compression { get; init; }

    /// <summary>Extensions that mean nothing to us, kept when the header is written again.</summary>
    public IReadOnlyList<(uint Type, byte[] Data)> OtherExtensions { get; init; } = [];

    public int ClusterSize => 1 << ClusterBits;

    /// <summary>Guest bytes that one L2 table maps, as a power of two (qcow2: Cluster mapping).</summary>
    public int L2CoverageBits => (2 * ClusterBits) - 3;

    /// <summary>Entries of the L1 table that a disk takes.</summary>
    public static long L1EntriesFor(long size, int clusterBits)
    {
        int bits = (2 * clusterBits) - 3;
        return (size >> bits) + ((size & ((1L << bits) - 1)) != 0 ? 1 : 0);
    }

    /// <param name="path">For messages.</param>
    /// <param name="read">Reads from the image's start.</param>
    /// <exception cref="BadInputException">It is no such header, or one that we cannot do; the message says what.</exception>
    public static Qcow2Header Read(string path, Action<long, byte[]> read)
    {
        byte[] start = new byte[SectorOf(Version3Length)];
        read(0, start);
        if (!FormatGuess.HasQcow2Magic(start))
            throw new BadInputException($"'{path}' is no qcow2 image: it does not begin like one");
        int clusterBits = (int)Math.Min(U32(start, 20), 99);
        if (clusterBits is < SmallestClusterBits or > LargestClusterBits)
            throw new BadInputException($"'{path}': its cluster size of 2^{clusterBits} bytes is outside 512 to 2M");
        byte[] cluster = new byte[1 << clusterBits];
        read(0, cluster);
        Qcow2Header header = Parse(path, cluster, clusterBits);
        header.Check(path);
        return header;
    }

    /// <summary>The whole first cluster.</summary>
    /// <exception cref="BadInputException">The backing image's name is too long for it.</exception>
    public byte[] ToCluster(string path)
    {
        byte[] cluster = new byte[ClusterSize];
        WriteFixed(cluster);
        int at = Version == 2 ? Version2Length : Version3Length;
        if (BackingName != null && BackingFormat != null)
            at = PutExtension(path, cluster, at, BackingFormatType, Encoding.UTF8.GetBytes(BackingFormat));
        foreach ((uint type, byte[] data) in OtherExtensions)
            at = PutExtension(path, cluster, at, type, data);
        byte[] name = Encoding.UTF8.GetBytes(BackingName ?? "");
        byte[] features = FeatureNames();
        if (Version > 2 && at + 8 + features.Length + 8 + name.Length <= cluster.Length)
            at = PutExtension(path, cluster, at, FeatureNameType, features);
        at += 8; // the end of the extensions: type and length zero
        if (name.Length == 0)
            return cluster;
        if (name.Length > LongestBackingName || at + name.Length > cluster.Length)
            throw new BadInputException($"'{path}': the name of its backing image is too long: use a shorter one");
        name.CopyTo(cluster, at);
        BinaryPrimitives.WriteInt64BigEndian(cluster.AsSpan(8), at);
        BinaryPrimitives.WriteInt32BigEndian(cluster.AsSpan(16), name.Length);
        return cluster;
    }

    /// <summary>Writes the fields into a cluster that <see cref="ToCluster"/> made; the place of the backing image's name stays.</summary>
    public void WriteSwitched(byte[] cluster)
    {
        byte[] place = cluster[8..20];
        WriteFixed(cluster.AsSpan(0, SwitchedLength));
        place.CopyTo(cluster, 8);
    }

    /// <summary>Header fields without the place of the backing image's name, for images whose extensions stay.</summary>
    public void WriteFixed(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, FormatGuess.Qcow2Magic);
        BinaryPrimitives.WriteUInt32BigEndian(target[4..], Version);
        BinaryPrimitives.WriteInt32BigEndian(target[20..], ClusterBits);
        BinaryPrimitives.WriteInt64BigEndian(target[24..], Size);
        BinaryPrimitives.WriteInt32BigEndian(target[36..], L1Entries);
        BinaryPrimitives.WriteInt64BigEndian(target[40..], L1Offset);
        BinaryPrimitives.WriteInt64BigEndian(target[48..], RefcountTableOffset);
        BinaryPrimitives.WriteInt32BigEndian(target[56..], RefcountTableClusters);
        BinaryPrimitives.WriteInt32BigEndian(target[60..], SnapshotCount);
        BinaryPrimitives.WriteInt64BigEndian(target[64..], SnapshotOffset);
        if (Version == 2)
            return;
        BinaryPrimitives.WriteUInt64BigEndian(target[IncompatibleOffset..], (ulong)Incompatible);
        BinaryPrimitives.WriteUInt64BigEndian(target[80..], (ulong)Compatible);
        BinaryPrimitives.WriteUInt64BigEndian(target[AutoclearOffset..], (ulong)Autoclear);
        BinaryPrimitives.WriteInt32BigEndian(target[96..], RefcountOrder);
        if (target.Length < Version3Length)
            return;
        BinaryPrimitives.WriteInt32BigEndian(target[100..], Version3Length);
        target[104] = (byte)Compression;
    }

    /// <summary>Where the bitmap directory is (qcow2: Bitmaps extension); null if there is none that counts.</summary>
    public (long Offset, long Length, int Count)? BitmapDirectory =>
        (Autoclear & AutoclearFeatures.Bitmaps) != 0 && OtherExtensions.FirstOrDefault(e => e.Type == BitmapType).Data is { Length: >= 24 } data
            ? (BinaryPrimitives.ReadInt64BigEndian(data.AsSpan(16)), BinaryPrimitives.ReadInt64BigEndian(data.AsSpan(8)), BinaryPrimitives.ReadInt32BigEndian(data))
            : null;

    private static Qcow2Header Parse(string path, byte[] cluster, int clusterBits)
    {
        uint version = U32(cluster, 4);
        if (version is not (2 or 3))
            throw new BadInputException($"'{path}' is a qcow2 image of version {version}: 2 and 3 can be used");
        long length = version == 2 ? Version2Length : U32(cluster, 100);
        if (version == 3 && (length < FixedLength || length % 8 != 0 || length > cluster.Length))
            throw new BadInputException($"'{path}': its header says that it has {length} bytes, which cannot be");
        (string? backingFormat, List<(uint, byte[])> others, Dictionary<(int, int), string> names) = ReadExtensions(path, cluster, (int)length);
        ulong incompatible = version == 2 ? 0 : U64(cluster, IncompatibleOffset);
        if ((incompatible & ~(ulong)IncompatibleFeatures.Supported) is not 0 and var unknown)
            throw new BadInputException($"'{path}' needs what is not supported: {string.Join(", ", Names(unknown, names))}");
        if (U32(cluster, 32) != 0)
            throw new BadInputException($"'{path}' is encrypted, which is not supported");
        return new Qcow2Header
        {
            Version = version,
            ClusterBits = clusterBits,
            Size = (long)Math.Min(U64(cluster, 24), long.MaxValue),
            BackingName = ReadBackingName(path, cluster),
            BackingFormat = backingFormat,
            L1Entries = (int)Math.Min(U32(cluster, 36), int.MaxValue),
            L1Offset = (long)Math.Min(U64(cluster, 40), long.MaxValue),
            RefcountTableOffset = (long)Math.Min(U64(cluster, 48), long.MaxValue),
            RefcountTableClusters = (int)Math.Min(U32(cluster, 56), int.MaxValue),
            SnapshotCount = (int)Math.Min(U32(cluster, 60), int.MaxValue),
            SnapshotOffset = (long)Math.Min(U64(cluster, 64), long.MaxValue),
            Incompatible = (IncompatibleFeatures)incompatible,
            Compatible = version == 2 ? 0 : (CompatibleFeatures)U64(cluster, 80),
            Autoclear = version == 2 ? 0 : (AutoclearFeatures)U64(cluster, AutoclearOffset),
            RefcountOrder = version == 2 ? 4 : (int)Math.Min(U32(cluster, 96), 99),
            Compression = length > 104 ? (Qcow2Compression)cluster[104] : Qcow2Compression.Zlib,
            OtherExtensions = others,
        };
    }

    private void Check(string path)
    {
        int mask = ClusterSize - 1;
        if (RefcountOrder > 6)
            throw new BadInputException($"'{path}': its reference counts of 2^{RefcountOrder} bits are wider than 64");
        bool other = (Incompatible & IncompatibleFeatures.CompressionType) != 0;
        if (Compression > Qcow2Compression.Zstd || other != (Compression != Qcow2Compression.Zlib))
            throw new BadInputException($"'{path}': its compression type {(byte)Compression} is not known");
        if (Size > 1L << 61 || L1EntriesFor(Size, ClusterBits) > L1Entries || L1Entries > LargestL1Bytes / 8)
            throw new BadInputException($"'{path}' is damaged: an L1 table of {L1Entries} entries does not fit a disk of {Size} bytes");
        if (RefcountTableClusters == 0 || RefcountTableClusters > LargestRefcountTableBytes >> ClusterBits)
            throw new BadInputException($"'{path}' is damaged: its refcount table has {RefcountTableClusters} clusters");
        if (SnapshotCount > MostSnapshots)
            throw new BadInputException($"'{path}' is damaged: it says that it has {SnapshotCount} snapshots");
        foreach ((long offset, string what) in new[] { (L1Offset, "L1 table"), (RefcountTableOffset, "refcount table"), (SnapshotOffset, "snapshot table") })
        {
            if ((offset & mask) != 0 || offset > L2Entry.OffsetMask)
                throw new BadInputException($"'{path}' is damaged: its {what} is said to be at {offset}");
        }
    }

    private static string? ReadBackingName(string path, byte[] cluster)
    {
        ulong offset = U64(cluster, 8);
        uint length = U32(cluster, 16);
        if (offset == 0 || length == 0)
            return null;
        if (length > LongestBackingName || offset > (ulong)cluster.Length - length)
            throw new BadInputException($"'{path}' is damaged: the name of its backing image does not lie in its first cluster");
        return Encoding.UTF8.GetString(cluster, (int)offset, (int)length);
    }

    private static (string? BackingFormat, List<(uint, byte[])> Others, Dictionary<(int, int), string> Names) ReadExtensions(string path, byte[] cluster, int at)
    {
        string? backingFormat = null;
        List<(uint, byte[])> others = [];
        Dictionary<(int, int), string> names = [];
        ulong backing = U64(cluster, 8);
        int end = backing == 0 ? cluster.Length : (int)Math.Min(backing, (ulong)cluster.Length);
        while (at + 8 <= end && U32(cluster, at) is not 0 and var type)
        {
            uint length = U32(cluster, at + 4);
            if (length > end - at - 8)
                throw new BadInputException($"'{path}' is damaged: header extension {type:x8} does not end in its first cluster");
            ReadOnlySpan<byte> data = cluster.AsSpan(at + 8, (int)length);
            if (type == BackingFormatType)
                backingFormat = Encoding.UTF8.GetString(data);
            else if (type == FeatureNameType)
                ReadNames(data, names);
            else
                others.Add((type, data.ToArray()));
            at += 8 + (((int)length + 7) & ~7);
        }
        return (backingFormat, others, names);
    }

    private static void ReadNames(ReadOnlySpan<byte> data, Dictionary<(int, int), string> names)
    {
        for (; data.Length >= FeatureNameLength; data = data[FeatureNameLength..])
            names[(data[0], data[1])] = new string([.. Encoding.UTF8.GetString(data[2..FeatureNameLength]).TrimEnd('\0').Select(c => char.IsControl(c) ? '?' : c)]);
    }

    private static IEnumerable<string> Names(ulong bits, Dictionary<(int, int), string> names)
    {
        for (int bit = 0; bit < 64; bit++)
        {
            if ((bits >> bit & 1) != 0)
                yield return KnownNames.FirstOrDefault(n => n.Kind == 0 && n.Bit == bit).Name ?? names.GetValueOrDefault((0, bit)) ?? $"incompatible feature {bit}";
        }
    }

    private static byte[] FeatureNames()
    {
        byte[] table = new byte[KnownNames.Length * FeatureNameLength];
        for (int i = 0; i < KnownNames.Length; i++)
        {
            (byte kind, byte bit, string name) = KnownNames[i];
            (table[i * FeatureNameLength], table[(i * FeatureNameLength) + 1]) = (kind, bit);
            Encoding.ASCII.GetBytes(name, table.AsSpan((i * FeatureNameLength) + 2));
        }
        return table;
    }

    private static int PutExtension(string path, byte[] cluster, int at, uint type, byte[] data)
    {
        int next = at + 8 + ((data.Length + 7) & ~7);
        if (next + 8 > cluster.Length)
            throw new BadInputException($"'{path}': its header has no room in a cluster of {cluster.Length} bytes");
        BinaryPrimitives.WriteUInt32BigEndian(cluster.AsSpan(at), type);
        BinaryPrimitives.WriteInt32BigEndian(cluster.AsSpan(at + 4), data.Length);
        data.CopyTo(cluster, at + 8);
        return next;
    }

    private static int SectorOf(int length) => (length + DiskImage.SectorSize - 1) & -DiskImage.SectorSize;

    private static uint U32(byte[] data, int at) => BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at));

    private static ulong U64(byte[] data, int at) => BinaryPrimitives.ReadUInt64BigEndian(data.AsSpan(at));
}
