using System.Buffers.Binary;
using Trapline.Storage.Files;

namespace Trapline.Storage.Qcow2;

/// <summary>Tables of an image (L2 tables, refcount blocks) in memory, written back when the order of writes allows it.</summary>
/// <remarks>
/// Readers hold <see cref="Gate"/> while they look into a table. One thread at a time, the holder of the image's allocation lock, changes tables; it holds the
/// gate for the moment of the change only. Changed tables are never evicted, so they can be written without the gate. The allocating thread keeps their
/// number down (<see cref="IsCrowded"/>).
/// </remarks>
internal sealed class MetadataCache(IImageFile file, int tableSize, int capacity)
{
    private readonly Dictionary<long, Entry> _entries = [];
    private readonly List<Entry> _changed = [];
    private readonly Stack<byte[]> _spare = new();
    private long _clock;
    private Entry? _last;

    private sealed class Entry(long offset, byte[] data)
    {
        public readonly long Offset = offset;
        public readonly byte[] Data = data;
        public long LastUsed;
        public int ChangedFrom, ChangedTo;
    }

    public Lock Gate { get; } = new();

    public bool HasChanges => _changed.Count > 0;

    public bool IsCrowded => _changed.Count >= capacity / 2;

    /// <summary>A table's bytes, valid while the gate is held.</summary>
    public byte[] Load(long offset)
    {
        if (_last is { } last && last.Offset == offset)
            return last.Data;
        if (!_entries.TryGetValue(offset, out Entry? entry))
        {
            byte[] data = TakeMemory();
            try
            {
                file.Read(offset, data);
            }
            catch (IOException)
            {
                _spare.Push(data);
                throw;
            }
            entry = new Entry(offset, data);
            _entries.Add(offset, entry);
        }
        entry.LastUsed = ++_clock;
        _last = entry;
        return entry.Data;
    }

    public ulong Get(long table, int index)
    {
        lock (Gate)
            return BinaryPrimitives.ReadUInt64BigEndian(Load(table).AsSpan(index * sizeof(ulong)));
    }

    public void Set(long table, int index, ulong value)
    {
        lock (Gate)
        {
            BinaryPrimitives.WriteUInt64BigEndian(Load(table).AsSpan(index * sizeof(ulong)), value);
            Changed(table, index * sizeof(ulong), sizeof(ulong));
        }
    }

    /// <summary>Says that bytes of a loaded table were changed; the gate is held.</summary>
    public void Changed(long table, int from, int length)
    {
        Entry entry = _entries[table];
        if (entry.ChangedTo == 0)
        {
            _changed.Add(entry);
            (entry.ChangedFrom, entry.ChangedTo) = (from, from + length);
            return;
        }
        entry.ChangedFrom = Math.Min(entry.ChangedFrom, from);
        entry.ChangedTo = Math.Max(entry.ChangedTo, from + length);
    }

    /// <summary>A new table in place of whatever lies there: zeroes, or a copy of another one.</summary>
    public void Create(long offset, long? copyOf = null)
    {
        lock (Gate)
        {
            Forget(offset);
            byte[] data = TakeMemory();
            if (copyOf is { } original)
                Load(original).CopyTo(data, 0);
            else
                Array.Clear(data);
            _entries.Add(offset, new Entry(offset, data) { LastUsed = ++_clock });
            Changed(offset, 0, tableSize);
        }
    }

    /// <summary>The table is no more: what was changed in it is not written.</summary>
    public void Forget(long offset)
    {
        lock (Gate)
        {
            if (!_entries.Remove(offset, out Entry? entry))
                return;
            _changed.Remove(entry);
            _spare.Push(entry.Data);
            _last = null;
        }
    }

    /// <summary>Forgets all tables; none has changes.</summary>
    public void Clear()
    {
        lock (Gate)
        {
            _entries.Clear();
            _changed.Clear();
            _last = null;
        }
    }

    /// <summary>Writes what was changed, in whole sectors.</summary>
    public void WriteChanges()
    {
        for (int i = _changed.Count - 1; i >= 0; i--)
        {
            Entry entry = _changed[i];
            int from = entry.ChangedFrom & -DiskImage.SectorSize, to = (entry.ChangedTo + DiskImage.SectorSize - 1) & -DiskImage.SectorSize;
            file.Write(entry.Offset + from, entry.Data.AsSpan(from, to - from));
            lock (Gate)
            {
                (entry.ChangedFrom, entry.ChangedTo) = (0, 0);
                _changed.RemoveAt(i);
            }
        }
    }

    private byte[] TakeMemory()
    {
        if (_entries.Count >= capacity)
            Evict();
        return _spare.TryPop(out byte[]? data) ? data : GC.AllocateUninitializedArray<byte>(tableSize);
    }

    private void Evict()
    {
        Entry? oldest = null;
        foreach (Entry entry in _entries.Values)
        {
            if (entry.ChangedTo == 0 && (oldest == null || entry.LastUsed < oldest.LastUsed))
                oldest = entry;
        }
        if (oldest == null)
            return;
        _entries.Remove(oldest.Offset);
        _spare.Push(oldest.Data);
        if (_last == oldest)
            _last = null;
    }
}
