using Trapline.Host;

namespace Trapline.Virtio.FileSystem;

/// <summary>State of a file that the guest knows.</summary>
/// <param name="Parent">The folder's node.</param>
/// <param name="Name">With the zero that ends it; which file has it now is found out when the machine goes on.</param>
/// <param name="Lookups">0 for a folder that is here only because of what is in it.</param>
public sealed record SharedNodeState(ulong Id, ulong Parent, byte[] Name, FileKind Kind, ulong Lookups);

/// <summary>The files that the guest knows. From any thread.</summary>
/// <param name="most">How many there may be: who forgets nothing is told that there are too many.</param>
internal sealed class NodeTable(int most)
{
    /// <summary>FUSE_ROOT_ID.</summary>
    public const ulong RootId = 1;

    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, Node> _byId = [];
    private readonly Dictionary<FileIdentity, Node> _byIdentity = [];
    private readonly Node _root = new(RootId, null, [], FileKind.Folder) { Lookups = 1 };
    private ulong _lastId = RootId;

    public int Count
    {
        get
        {
            lock (_lock)
                return _byId.Count;
        }
    }

    public Node? Find(ulong id)
    {
        if (id == RootId)
            return _root;
        lock (_lock)
            return _byId.GetValueOrDefault(id);
    }

    /// <summary>The guest is told of a file; null if it knows too many.</summary>
    /// <param name="isNew">It was just made: what had its number before is gone.</param>
    public Node? Remember(Node parent, ReadOnlySpan<byte> name, in FileFacts facts, bool isNew)
    {
        lock (_lock)
        {
            if (!isNew && _byIdentity.TryGetValue(facts.Identity, out Node? node) && node.Kind == facts.Kind)
            {
                Place(node, parent, name);
            }
            else
            {
                if (_byId.Count >= most)
                    return null;
                node = new Node(++_lastId, parent, name.ToArray(), facts.Kind) { Identity = facts.Identity };
                _byId.Add(node.Id, node);
                _byIdentity[facts.Identity] = node;
            }
            node.Lookups++;
            return node;
        }
    }

    private static void Place(Node node, Node parent, ReadOnlySpan<byte> name)
    {
        node.Parent = parent;
        if (!name.SequenceEqual(node.Name))
            node.Name = name.ToArray();
    }

    /// <summary>A file got another name.</summary>
    public void Move(in FileIdentity file, Node parent, ReadOnlySpan<byte> name)
    {
        lock (_lock)
        {
            if (_byIdentity.TryGetValue(file, out Node? node))
                Place(node, parent, name);
        }
    }

    /// <summary>The guest forgets having been told of a file so many times.</summary>
    public void Forget(ulong id, ulong lookups)
    {
        lock (_lock)
        {
            if (!_byId.TryGetValue(id, out Node? node))
                return;
            node.Lookups -= Math.Min(lookups, node.Lookups);
            if (node.Lookups == 0)
                Remove(node);
        }
    }

    private void Remove(Node node)
    {
        _byId.Remove(node.Id);
        if (node.Identity is { } identity && _byIdentity.TryGetValue(identity, out Node? holder) && holder == node)
            _byIdentity.Remove(identity);
    }

    public void Clear()
    {
        lock (_lock)
        {
            _byId.Clear();
            _byIdentity.Clear();
        }
    }

    /// <summary>Writes a node's path into a buffer's end, with the zero that ends it; empty if it is too long.</summary>
    /// <param name="name">Of a file in the node; empty for the node itself.</param>
    public ReadOnlySpan<byte> PathOf(Node node, ReadOnlySpan<byte> name, Span<byte> buffer)
    {
        lock (_lock)
        {
            int start = buffer.Length;
            if (!name.IsEmpty && !TryPut(name, buffer, ref start))
                return default;
            // A loop, which no file system has, would end here too: the buffer does.
            for (Node? at = node; at is { Parent: not null }; at = at.Parent)
            {
                if (!TryPut(at.Name, buffer, ref start))
                    return default;
            }
            return start == buffer.Length ? ConfinedFolder.Self : buffer[start..];
        }
    }

    /// <summary>Puts a component before what is there. What ends the last one is a zero; the others end with a slash.</summary>
    private static bool TryPut(ReadOnlySpan<byte> component, Span<byte> buffer, ref int start)
    {
        if (component.Length > start)
            return false;
        bool isLast = start == buffer.Length;
        start -= component.Length;
        component.CopyTo(buffer[start..]);
        if (!isLast)
            buffer[start + component.Length - 1] = (byte)'/';
        return true;
    }

    /// <summary>The guest opens a file that is so now: whether what it has cached of it is still right.</summary>
    public bool NoteOpened(Node node, FileVersion version)
    {
        lock (_lock)
        {
            bool same = node.Opened == version;
            node.Opened = version;
            return same;
        }
    }

    public SharedNodeState[] Save()
    {
        lock (_lock)
        {
            Dictionary<ulong, Node> all = new(_byId);
            foreach (Node node in _byId.Values)
            {
                for (Node? at = node.Parent; at is { Parent: not null } && all.TryAdd(at.Id, at); at = at.Parent)
                {
                }
            }
            return [.. all.Values.Select(n => new SharedNodeState(n.Id, n.Parent?.Id ?? RootId, n.Name, n.Kind, n.Lookups))];
        }
    }

    /// <summary>Takes over the files of another table, each of them lost until <see cref="Bind"/>.</summary>
    /// <exception cref="ArgumentException">They are impossible.</exception>
    public void Restore(IReadOnlyList<SharedNodeState> saved)
    {
        lock (_lock)
        {
            Dictionary<ulong, Node> all = new() { [RootId] = _root };
            foreach (SharedNodeState state in saved)
            {
                if (!ConfinedFolder.IsName(state.Name) || !all.TryAdd(state.Id, new Node(state.Id, null, state.Name, state.Kind) { Identity = Node.Lost, Lookups = state.Lookups }))
                    throw new ArgumentException($"node {state.Id} has no name of its own");
            }
            foreach (SharedNodeState state in saved)
            {
                all[state.Id].Parent = all.GetValueOrDefault(state.Parent) ?? throw new ArgumentException($"node {state.Id} is in no folder");
                if (state.Lookups > 0)
                    _byId.Add(state.Id, all[state.Id]);
                _lastId = Math.Max(_lastId, state.Id);
            }
        }
    }

    /// <summary>Finds out which files have the names of those that are lost.</summary>
    public void Bind(ConfinedFolder folder)
    {
        byte[] path = new byte[Fuse.FuseExchange.LongestPath];
        Node[] nodes;
        lock (_lock)
            nodes = [.. _byId.Values.Where(n => n.Identity == Node.Lost)];
        foreach (Node node in nodes)
        {
            if (folder.Describe(PathOf(node, default, path), out FileFacts facts) != LinuxError.None || facts.Kind != node.Kind)
                continue;
            lock (_lock)
            {
                node.Identity = facts.Identity;
                _byIdentity.TryAdd(facts.Identity, node);
            }
        }
    }
}
