using Trapline.Storage.Files;

namespace Trapline.Storage.Faults;

/// <summary>
/// A file on a disk with a volatile cache. When the power fails, of what was written since the last flush any sectors are there, in any of the versions
/// written, and any are not; the file's length likewise.
/// </summary>
internal sealed class PowerLossFile : IImageFile
{
    private const int Sector = 512;

    private readonly Dictionary<long, List<byte[]>> _versions = [];
    private byte[] _stable = new byte[1 << 16];
    private byte[] _now = new byte[1 << 16];
    private long _length;
    private long _stableLength;

    public long Length => _length;

    /// <summary>Operations until the power fails: from then on each one throws.</summary>
    public long Life { get; set; } = long.MaxValue;

    /// <summary>What a new start finds.</summary>
    public PowerLossFile AfterPowerLoss(Random random)
    {
        PowerLossFile found = new();
        long length = _stableLength;
        byte[] content = [.. _stable];
        // Mostly nearly all or nearly nothing arrives: between these extremes most mistakes would hide behind others.
        int kept = random.Next(4) switch { 0 => 2, 1 => 98, _ => 50 };
        foreach ((long sector, List<byte[]> versions) in _versions)
        {
            if (random.Next(100) >= kept)
                continue;
            versions[random.Next(versions.Count)].CopyTo(content, sector * Sector);
            length = Math.Max(length, Math.Min(_length, (sector + 1) * Sector));
        }
        if (random.Next(2) == 0)
            length = Math.Max(length, _length);
        (found._stable, found._now) = (content, [.. content]);
        found._length = found._stableLength = length;
        return found;
    }

    public void Read(long offset, Span<byte> destination)
    {
        Live();
        int there = (int)Math.Clamp(_length - offset, 0, destination.Length);
        if (there > 0)
            _now.AsSpan((int)offset, there).CopyTo(destination);
        destination[Math.Max(there, 0)..].Clear();
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        Live();
        Grow(offset + source.Length);
        source.CopyTo(_now.AsSpan((int)offset));
        _length = Math.Max(_length, offset + source.Length);
        Note(offset, source.Length);
    }

    public void Flush()
    {
        Live();
        foreach (long sector in _versions.Keys)
            _now.AsSpan((int)sector * Sector, Sector).CopyTo(_stable.AsSpan((int)sector * Sector));
        _versions.Clear();
        _stableLength = _length;
    }

    public void SetLength(long length)
    {
        Live();
        Grow(length);
        if (length < _length)
            _now.AsSpan((int)length, (int)(_length - length)).Clear();
        _length = length;
    }

    public bool TryZero(long offset, long length, bool unmap)
    {
        Live();
        int there = (int)Math.Clamp(_length - offset, 0, length);
        if (there > 0)
        {
            _now.AsSpan((int)offset, there).Clear();
            Note(offset, there);
        }
        return true;
    }

    public (bool Stored, long End) StoredAt(long offset) => offset < _length ? (true, _length) : (false, long.MaxValue);

    public void Dispose()
    {
    }

    private void Live()
    {
        if (Life-- <= 0)
            throw new IOException("the power is off");
    }

    private void Note(long offset, long length)
    {
        for (long sector = offset / Sector; sector * Sector < offset + length; sector++)
        {
            if (!_versions.TryGetValue(sector, out List<byte[]>? versions))
                _versions.Add(sector, versions = []);
            versions.Add(_now.AsSpan((int)sector * Sector, Sector).ToArray());
        }
    }

    private void Grow(long length)
    {
        if (length > 1 << 28)
            throw new IOException("no space left on device");
        if (length <= _now.Length)
            return;
        int size = (int)Math.Max(length + Sector, _now.Length * 2L);
        Array.Resize(ref _now, size);
        Array.Resize(ref _stable, size);
    }
}
