namespace Trapline.Storage.Qcow2;

/// <summary>How often each cluster of a file is referred to, counted from the tables; memory only for what is referred to.</summary>
/// <param name="clusters">Clusters in the file.</param>
internal sealed class ReferenceCounts(long clusters)
{
    private const int ChunkBits = 10;
    private readonly SortedDictionary<long, uint[]> _chunks = [];

    public long Clusters => clusters;

    public uint this[long cluster] => _chunks.TryGetValue(cluster >> ChunkBits, out uint[]? chunk) ? chunk[cluster & ((1 << ChunkBits) - 1)] : 0;

    /// <summary>False if there is no such cluster.</summary>
    public bool Add(long cluster, uint times)
    {
        if (cluster < 0 || cluster >= clusters)
            return false;
        if (!_chunks.TryGetValue(cluster >> ChunkBits, out uint[]? chunk))
            _chunks.Add(cluster >> ChunkBits, chunk = new uint[1 << ChunkBits]);
        ref uint count = ref chunk[cluster & ((1 << ChunkBits) - 1)];
        count = (uint)Math.Min((ulong)count + times, uint.MaxValue);
        return true;
    }

    /// <summary>Clusters with references, in order.</summary>
    public IEnumerable<(long Cluster, uint Count)> Used()
    {
        foreach ((long chunk, uint[] counts) in _chunks)
        {
            for (int i = 0; i < counts.Length; i++)
            {
                if (counts[i] != 0)
                    yield return ((chunk << ChunkBits) + i, counts[i]);
            }
        }
    }
}
