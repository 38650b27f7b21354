using System.Buffers.Binary;
using Trapline.Memory;

namespace Trapline.Machine;

/// <summary>RAM in a snapshot file: chunk by chunk, each with its checksum.</summary>
internal static class SnapshotMemory
{
    /// <summary>The chunks that hold anything, in order.</summary>
    public static IEnumerable<ulong> StoredChunks(IEnumerable<(ulong Start, ulong Length)> ranges)
    {
        ulong next = 0;
        foreach ((ulong start, ulong length) in ranges)
        {
            ulong first = Math.Max(start / SnapshotWriter.ChunkBytes, next), last = (start + length - 1) / SnapshotWriter.ChunkBytes;
            for (ulong chunk = first; chunk <= last; chunk++)
                yield return chunk;
            next = Math.Max(next, last + 1);
        }
    }

    /// <summary>Compares the content with the chunk table, without touching anybody's mapping of it.</summary>
    /// <returns>Where it is damaged, for people; null if it is whole.</returns>
    public static string? Check(MemoryTemplate memory, byte[] table, CancellationToken cancellation)
    {
        byte[] buffer = new byte[SnapshotWriter.ChunkBytes];
        HashSet<ulong> stored = [.. StoredChunks(memory.StoredRanges)];
        for (ulong chunk = 0; chunk * SnapshotWriter.ChunkBytes < memory.Length; chunk++)
        {
            if (cancellation.IsCancellationRequested)
                return null;
            ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(table.AsSpan((int)chunk * sizeof(ulong))), start = chunk * SnapshotWriter.ChunkBytes;
            if (entry == 0 && !stored.Contains(chunk))
                continue;
            Span<byte> content = buffer.AsSpan(0, (int)Math.Min(SnapshotWriter.ChunkBytes, memory.Length - start));
            try
            {
                memory.Read(start, content);
            }
            catch (IOException e)
            {
                return $"its memory at 0x{start:x} cannot be read: {e.Message}";
            }
            bool whole = entry == 0 ? !content.ContainsAnyExcept((byte)0) : entry == (SnapshotWriter.Stored | Crc32C.Compute(content));
            if (!whole)
                return $"its memory at 0x{start:x} is damaged";
        }
        return null;
    }
}
