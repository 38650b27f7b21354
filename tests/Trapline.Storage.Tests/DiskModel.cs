using Trapline.Storage.Qcow2;

namespace Trapline.Storage.Tests;

/// <summary>A disk beside an array that says what it has to contain, and random operations on both.</summary>
internal sealed class DiskModel(Random random, byte[] content)
{
    private readonly byte[] _buffer = new byte[1 << 20];
    private readonly Dictionary<string, byte[]> _snapshots = [];
    private int _names;

    public byte[] Content { get; private set; } = content;

    /// <summary>What the backing image has, for a disk that grows into it: zeroes, because growing hides it.</summary>
    public void Step(Qcow2Image disk, bool manage)
    {
        int length = 512 * (random.Next(4) == 0 ? random.Next(1, 1 + (Math.Min(_buffer.Length, Content.Length) / 512)) : random.Next(1, 17));
        length = Math.Min(length, Content.Length);
        int offset = random.Next(((Content.Length - length) / 512) + 1) * 512;
        Span<byte> part = _buffer.AsSpan(0, length), expected = Content.AsSpan(offset, length);
        switch (random.Next(manage ? 30 : 24))
        {
            case < 9:
                Fill(part);
                disk.Write(offset, part);
                part.CopyTo(expected);
                break;
            case < 15:
                disk.Read(offset, part);
                Assert.True(part.SequenceEqual(expected), $"read of {length} at {offset}: differs at {part.CommonPrefixLength(expected)}");
                break;
            case < 18:
                disk.WriteZeroes(offset, length, mayUnmap: random.Next(2) == 0);
                expected.Clear();
                break;
            case < 20:
                disk.Discard(offset, length);
                // What it reads as from now on is the disk's choice, but it has to stay so.
                disk.Read(offset, part);
                Assert.True(IsOldOrZero(part, expected));
                part.CopyTo(expected);
                break;
            case < 22:
                disk.Flush();
                break;
            case < 24:
                int cluster = disk.ClusterSize, at = random.Next((Content.Length + cluster - 1) / cluster) * cluster;
                int rest = Math.Min(cluster, Content.Length - at);
                Span<byte> whole = new byte[rest];
                Fill(whole);
                disk.WriteCompressed(at, whole);
                whole.CopyTo(Content.AsSpan(at));
                break;
            case < 26:
                if (_snapshots.Count < 4)
                {
                    string name = $"s{_names++}";
                    disk.CreateSnapshot(name, DateTime.UnixEpoch.AddDays(20000));
                    _snapshots.Add(name, [.. Content]);
                }
                break;
            case 26:
                if (_snapshots.Count > 0)
                {
                    (string name, byte[] old) = _snapshots.ElementAt(random.Next(_snapshots.Count));
                    disk.ApplySnapshot(name);
                    Content = [.. old];
                }
                break;
            case 27:
                if (_snapshots.Count > 0)
                {
                    string name = _snapshots.ElementAt(random.Next(_snapshots.Count)).Key;
                    disk.DeleteSnapshot(name);
                    _snapshots.Remove(name);
                }
                break;
            default:
                if (random.Next(4) == 0)
                {
                    int size = Math.Max(512, Content.Length + (512 * random.Next(-500, 600)));
                    disk.Resize(size);
                    byte[] resized = new byte[size];
                    Content.AsSpan(0, Math.Min(size, Content.Length)).CopyTo(resized);
                    Content = resized;
                }
                break;
        }
    }

    public void Compare(DiskImage disk)
    {
        Assert.Equal(Content.Length, disk.Length);
        byte[] all = new byte[Content.Length];
        disk.Read(0, all);
        Assert.True(all.AsSpan().SequenceEqual(Content), $"differs at {all.AsSpan().CommonPrefixLength(Content)}");
    }

    /// <summary>Random bytes, zeroes, or something that can be compressed.</summary>
    private void Fill(Span<byte> part)
    {
        switch (random.Next(3))
        {
            case 0:
                random.NextBytes(part);
                break;
            case 1:
                part.Fill((byte)random.Next(1, 256));
                break;
            default:
                for (int i = 0; i < part.Length; i++)
                    part[i] = (byte)"Lorem ipsum dolor sit amet, "[(i * (1 + (i >> 12))) % 28];
                break;
        }
    }

    private static bool IsOldOrZero(ReadOnlySpan<byte> now, ReadOnlySpan<byte> old)
    {
        for (int i = 0; i < now.Length; i++)
        {
            if (now[i] != old[i] && now[i] != 0)
                return false;
        }
        return true;
    }
}
