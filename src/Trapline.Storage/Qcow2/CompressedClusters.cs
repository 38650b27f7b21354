using System.IO.Compression;
using Trapline.Host;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>Reads compressed clusters, and keeps the last ones unpacked (qcow2: Compressed Clusters Descriptor).</summary>
internal sealed class CompressedClusters(string path, IImageFile file, Qcow2Header header)
{
    private const int Kept = 4;

    private readonly Lock _lock = new();
    private readonly (ulong Entry, byte[] Data)[] _unpacked = new (ulong, byte[])[Kept];
    private byte[]? _packed;
    private int _oldest;

    public void Read(ulong entry, int from, Span<byte> destination)
    {
        lock (_lock)
            Unpack(entry).AsSpan(from, destination.Length).CopyTo(destination);
    }

    /// <summary>Where they lay, something else may lie.</summary>
    public void Forget()
    {
        lock (_lock)
        {
            for (int i = 0; i < Kept; i++)
                _unpacked[i].Entry = 0;
        }
    }

    private byte[] Unpack(ulong entry)
    {
        foreach ((ulong kept, byte[] data) in _unpacked)
        {
            if (kept == entry)
                return data;
        }
        (long offset, int length) = L2Entry.CompressedRange(entry, header.ClusterBits);
        _packed ??= new byte[2 * header.ClusterSize];
        file.Read(offset, _packed.AsSpan(0, length));
        ref (ulong Entry, byte[] Data) slot = ref _unpacked[_oldest];
        _oldest = (_oldest + 1) % Kept;
        slot.Entry = 0;
        slot.Data ??= new byte[header.ClusterSize];
        bool whole = header.Compression == Qcow2Compression.Zstd ? Zstandard.TryUnpack(_packed.AsSpan(0, length), slot.Data) : Inflate(_packed, length, slot.Data);
        if (!whole)
            throw new IOException($"'{path}' is damaged: the compressed cluster at {offset} cannot be unpacked");
        slot.Entry = entry;
        return slot.Data;
    }

    private static bool Inflate(byte[] packed, int length, byte[] cluster)
    {
        using DeflateStream stream = new(new MemoryStream(packed, 0, length), CompressionMode.Decompress);
        try
        {
            return stream.ReadAtLeast(cluster, cluster.Length, throwOnEndOfStream: false) == cluster.Length;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }
}
