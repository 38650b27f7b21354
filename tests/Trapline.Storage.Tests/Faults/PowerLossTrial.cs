using System.Runtime.InteropServices;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage.Faults;

/// <summary>
/// One life of a qcow2 image on a disk that loses power at a random moment, and what is found afterwards: an image without corruption, in which every sector
/// has what was there at the last flush or something that was written since.
/// </summary>
internal sealed class PowerLossTrial
{
    private const int Sector = 512;

    private readonly Random _random;
    private readonly Dictionary<string, int[]> _snapshots = [];
    private readonly List<int>[] _possible;
    private int[] _now;
    private int _marks;

    private PowerLossTrial(Random random, int sectors)
    {
        _random = random;
        _now = new int[sectors];
        _possible = [.. Enumerable.Range(0, sectors).Select(_ => new List<int> { 0 })];
    }

    /// <summary>Null if all is well, else what is not.</summary>
    public static string? Run(int seed)
    {
        Random random = new(seed);
        int clusterSize = 512 << random.Next(4);
        PowerLossTrial trial = new(random, random.Next(8, 1500));
        return trial.Run(clusterSize, 1 << random.Next(3, 7), lazy: random.Next(3) == 0);
    }

    private string? Run(int clusterSize, int refcountBits, bool lazy)
    {
        PowerLossFile file = new();
        Qcow2Creator.Create("image", file, new Qcow2Settings
        {
            Size = _now.Length * Sector, ClusterSize = clusterSize, RefcountBits = refcountBits, LazyRefcounts = lazy,
        });
        // Several lives of one image, so that later ones begin with what earlier ones left.
        for (int life = 0; life < 3; life++)
        {
            file.Life = _random.Next(3) == 0 ? _random.Next(60) : _random.Next(1500);
            try
            {
                Live(file);
            }
            catch (IOException e) when (e.Message == "the power is off")
            {
            }
            file = file.AfterPowerLoss(_random);
            if (Look(file) is { } wrong)
                return $"life {life}, clusters of {clusterSize}, counts of {refcountBits} bits{(lazy ? ", lazy" : "")}: {wrong}";
        }
        return null;
    }

    private void Live(PowerLossFile file)
    {
        Qcow2Image disk = Open(file, readOnly: false);
        int steps = _random.Next(1, 120);
        for (int i = 0; i < steps; i++)
            Step(disk);
        if (_random.Next(3) == 0)
        {
            disk.Dispose();
            Settle();
        }
    }

    private void Step(Qcow2Image disk)
    {
        int count = _random.Next(1, Math.Min(_now.Length, _random.Next(4) == 0 ? 200 : 12) + 1), first = _random.Next(_now.Length - count + 1);
        switch (_random.Next(20))
        {
            case < 9:
                int mark = ++_marks;
                byte[] data = new byte[count * Sector];
                MemoryMarshal.Cast<byte, int>(data.AsSpan()).Fill(mark);
                Put(first, count, mark);
                disk.Write(first * Sector, data);
                break;
            case < 12:
                Put(first, count, 0);
                disk.WriteZeroes(first * Sector, count * Sector, mayUnmap: _random.Next(2) == 0);
                break;
            case < 14:
                for (int i = first; i < first + count; i++)
                    _possible[i].Add(0);
                disk.Discard(first * Sector, count * Sector);
                for (int i = first; i < first + count; i++)
                    _now[i] = Mark(disk, i);
                break;
            case < 17:
                disk.Flush();
                Settle();
                break;
            case 17 when _snapshots.Count < 3:
                string made = $"s{++_marks}";
                _snapshots.Add(made, [.. _now]);
                disk.CreateSnapshot(made, DateTime.UnixEpoch);
                Settle();
                break;
            case 18 when _snapshots.Count > 0:
                (string applied, int[] old) = _snapshots.ElementAt(_random.Next(_snapshots.Count));
                if (!disk.Snapshots.Any(s => s.Name == applied))
                    break;
                for (int i = 0; i < _now.Length; i++)
                    _possible[i].Add(old[i]);
                _now = [.. old];
                disk.ApplySnapshot(applied);
                Settle();
                break;
            case 19 when _snapshots.Count > 0:
                string deleted = _snapshots.Keys.ElementAt(_random.Next(_snapshots.Count));
                _snapshots.Remove(deleted);
                if (!disk.Snapshots.Any(s => s.Name == deleted))
                    break;
                disk.DeleteSnapshot(deleted);
                Settle();
                break;
        }
    }

    private void Put(int first, int count, int mark)
    {
        for (int i = first; i < first + count; i++)
        {
            _now[i] = mark;
            _possible[i].Add(mark);
        }
    }

    private void Settle()
    {
        for (int i = 0; i < _now.Length; i++)
        {
            _possible[i].Clear();
            _possible[i].Add(_now[i]);
        }
    }

    /// <summary>Looks the image over as it is found, takes it into use, and goes on with what it has.</summary>
    private string? Look(PowerLossFile file)
    {
        ImageCheckResult found = ImageCheck.Check("image", file);
        if (found is { WasNotClosed: false, Corruptions: > 0 })
            return $"{found.Corruptions} corruptions: {string.Join("; ", found.Details)}";
        bool late = found.WasNotClosed;
        using (Qcow2Image disk = Open(file, readOnly: false))
        {
            for (int i = 0; i < _now.Length; i++)
            {
                int mark = Mark(disk, i);
                if (!_possible[i].Contains(mark))
                    return $"sector {i} has {mark}, not one of {string.Join(", ", _possible[i])}";
                _now[i] = mark;
            }
        }
        file.Flush();
        Settle();
        ImageCheckResult after = ImageCheck.Check("image", file);
        return after.Corruptions > 0 || after.WasNotClosed || (late && after.Leaks > 0)
            ? $"after use {after.Corruptions} corruptions, {after.Leaks} leaks: {string.Join("; ", after.Details)}"
            : null;
    }

    /// <summary>What a sector is filled with; -1 if it is not filled evenly.</summary>
    private static int Mark(Qcow2Image disk, int sector)
    {
        Span<byte> data = stackalloc byte[Sector];
        disk.Read(sector * Sector, data);
        ReadOnlySpan<int> marks = MemoryMarshal.Cast<byte, int>(data);
        return marks.ContainsAnyExcept(marks[0]) ? -1 : marks[0];
    }

    private static Qcow2Image Open(PowerLossFile file, bool readOnly) =>
        new(file, Qcow2Header.Read("image", (offset, target) => file.Read(offset, target)), null, new ImageOptions("image") { ReadOnly = readOnly, Unmap = true });
}
