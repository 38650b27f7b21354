namespace Trapline.Storage;

/// <summary>How far a write has come when it is done.</summary>
public enum CacheMode
{
    /// <summary>In the host's page cache; on stable storage after a flush.</summary>
    Writeback,

    /// <summary>On stable storage: every write is followed by a flush.</summary>
    Writethrough,

    /// <summary>As writeback, past the host's page cache (O_DIRECT) where the host can.</summary>
    None,

    /// <summary>Flushes do nothing: for disks that nobody misses after a crash of the host.</summary>
    Unsafe,
}
