using Trapline.Host;

namespace Trapline.Virtio.FileSystem;

/// <summary>State of something that the guest has open.</summary>
/// <param name="Flags">How it was opened, in Linux's bits (open(2)).</param>
public sealed record SharedHandleState(ulong Handle, ulong Node, int Flags, bool IsFolder);

/// <summary>A file or folder that the guest has open.</summary>
/// <param name="File">Null for a folder, and for a file that was gone when the machine went on.</param>
/// <param name="Listing">Null for a file, and for a folder that was gone.</param>
internal sealed record OpenHandle(Node Node, int Flags, bool IsFolder, ConfinedFile? File, ConfinedListing? Listing) : IDisposable
{
    public void Dispose()
    {
        File?.Dispose();
        Listing?.Dispose();
    }
}

/// <summary>What the guest has open, by numbers that are not used again soon. From any thread.</summary>
/// <param name="most">How many there may be.</param>
internal sealed class HandleTable(int most)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, OpenHandle> _open = [];
    private ulong _last;

    public int Most => most;

    public int Count
    {
        get
        {
            lock (_lock)
                return _open.Count;
        }
    }

    public OpenHandle? Find(ulong handle)
    {
        lock (_lock)
            return _open.GetValueOrDefault(handle);
    }

    /// <summary>An open file of a node that has no path any more; null if there is none.</summary>
    public ConfinedFile? FindFile(Node node)
    {
        lock (_lock)
        {
            foreach (OpenHandle open in _open.Values)
            {
                if (open.Node == node && open.File is { } file)
                    return file;
            }
            return null;
        }
    }

    /// <summary>There is room for one more. A guess: another worker may be faster.</summary>
    public bool HasRoom
    {
        get
        {
            lock (_lock)
                return _open.Count < most;
        }
    }

    /// <summary>False if there are too many; it stays the caller's then.</summary>
    public bool TryAdd(OpenHandle open, out ulong handle)
    {
        lock (_lock)
        {
            handle = _last + 1;
            if (_open.Count >= most)
                return false;
            _open.Add(handle, open);
            _last = handle;
            return true;
        }
    }

    /// <summary>Closes it, when no other worker uses it any more.</summary>
    public bool Remove(ulong handle)
    {
        OpenHandle? open;
        lock (_lock)
        {
            if (!_open.Remove(handle, out open))
                return false;
        }
        open.Dispose();
        return true;
    }

    public void Clear()
    {
        lock (_lock)
        {
            foreach (OpenHandle open in _open.Values)
                open.Dispose();
            _open.Clear();
        }
    }

    public SharedHandleState[] Save()
    {
        lock (_lock)
            return [.. _open.Select(o => new SharedHandleState(o.Key, o.Value.Node.Id, o.Value.Flags, o.Value.IsFolder))];
    }

    /// <summary>Opens again what another table had open, by where it was.</summary>
    /// <param name="open">Opens it; what is gone stays a handle by which nothing can be done.</param>
    public void Reopen(IReadOnlyList<SharedHandleState> saved, Func<SharedHandleState, OpenHandle> open)
    {
        foreach (SharedHandleState state in saved)
        {
            OpenHandle opened = open(state);
            lock (_lock)
            {
                _open[state.Handle] = opened;
                _last = Math.Max(_last, state.Handle);
            }
        }
    }
}
