using System.Diagnostics;
using Trapline.Core;
using Trapline.Storage.Qcow2;

namespace Trapline.Storage.Faults;

/// <summary>
/// An image some bytes of whose tables are not what they were. Whatever is done with it ends soon, with an answer or with one line: nothing else is thrown,
/// and no more memory is taken than tables may have.
/// </summary>
internal sealed class MutatedImageTrial(IReadOnlyList<byte[]> originals, Func<byte[], Files.IImageFile> open)
{
    private const long MostMemory = 256 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>Images with everything in them that a table can say.</summary>
    public static List<byte[]> MakeOriginals(Func<Files.IImageFile> make, Func<Files.IImageFile, byte[]> content)
    {
        List<byte[]> originals = [];
        foreach ((int clusterSize, int refcountBits, bool lazy) in new[] { (512, 16, false), (4096, 1, true), (1024, 64, false), (65536, 16, false) })
        {
            Files.IImageFile file = make();
            Qcow2Creator.Create("image", file, new Qcow2Settings { Size = 600 * 512, ClusterSize = clusterSize, RefcountBits = refcountBits, LazyRefcounts = lazy });
            using (Qcow2Image disk = new(file, Qcow2Header.Read("image", (at, target) => file.Read(at, target)), null, new ImageOptions("image")))
            {
                disk.Write(0, Enumerable.Range(0, 100 * 512).Select(i => (byte)(i >> 9)).ToArray());
                disk.WriteZeroes(20 * 512, 200 * 512, mayUnmap: false);
                disk.WriteCompressed(disk.ClusterSize, Enumerable.Repeat((byte)7, disk.ClusterSize).ToArray());
                if (refcountBits > 1)
                    disk.CreateSnapshot("first", DateTime.UnixEpoch);
                disk.Write(300 * 512, new byte[40 * 512]);
            }
            originals.Add(content(file));
        }
        return originals;
    }

    /// <summary>Null if all is well, else what is not.</summary>
    public string? Run(int seed)
    {
        Random random = new(seed);
        byte[] image = [.. originals[random.Next(originals.Count)]];
        Mutate(random, image);
        Stopwatch time = Stopwatch.StartNew();
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            foreach (Action<Files.IImageFile> use in new Action<Files.IImageFile>[] { Read, f => ImageCheck.Check("image", f), f => Write(random, f), f => ImageCheck.Repair("image", f), Read })
            {
                Files.IImageFile file = open(image);
                try
                {
                    use(file);
                }
                catch (Exception e) when (e is BadInputException or IOException)
                {
                    if (e.Message.Contains('\n'))
                        return "more than one line: " + e.Message;
                }
            }
        }
        catch (Exception e)
        {
            return e.ToString();
        }
        if (time.Elapsed > Patience)
            return $"it took {time.Elapsed}";
        long taken = GC.GetAllocatedBytesForCurrentThread() - before;
        return taken > 5 * MostMemory ? $"it took {taken} bytes" : null;
    }

    /// <summary>Bytes anywhere, but mostly where tables are: the start, and eight bytes at a time.</summary>
    private static void Mutate(Random random, byte[] image)
    {
        for (int i = random.Next(1, 8); i > 0; i--)
        {
            int at = random.Next(3) switch { 0 => random.Next(112), 1 => random.Next(image.Length), _ => random.Next(image.Length / 8) * 8 };
            Span<byte> place = image.AsSpan(at, Math.Min(8, image.Length - at));
            switch (random.Next(5))
            {
                case 0:
                    place[0] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    place[0] = (byte)random.Next(256);
                    break;
                case 2:
                    random.NextBytes(place);
                    break;
                case 3:
                    place.Fill(random.Next(2) == 0 ? (byte)0 : (byte)0xFF);
                    break;
                default:
                    // A table's entry in place of another one's.
                    int from = random.Next(image.Length / 8) * 8;
                    image.AsSpan(from, Math.Min(place.Length, image.Length - from)).CopyTo(place);
                    break;
            }
        }
    }

    private static void Read(Files.IImageFile file)
    {
        using Qcow2Image disk = Open(file, readOnly: true);
        byte[] buffer = new byte[4096];
        for (long at = 0; at + buffer.Length <= Math.Min(disk.Length, 400 * 512); at += buffer.Length)
            disk.Read(at, buffer);
        _ = disk.Snapshots.Count;
        if (disk.Length > 0)
            _ = disk.ExtentAt(disk.Length - 1);
    }

    private static void Write(Random random, Files.IImageFile file)
    {
        using Qcow2Image disk = Open(file, readOnly: false);
        byte[] buffer = new byte[8192];
        random.NextBytes(buffer);
        long most = Math.Max(Math.Min(disk.Length, 600 * 512) - buffer.Length, 1);
        for (int i = 0; i < 20 && disk.Length > buffer.Length; i++)
        {
            long at = random.NextInt64(most) & -512;
            Attempt(() => disk.Write(at, buffer));
            Attempt(() => disk.WriteZeroes(at / 2 & -512, buffer.Length, mayUnmap: true));
            Attempt(() => disk.Discard(at / 3 & -512, buffer.Length));
        }
        Attempt(disk.Flush);
        Attempt(() => disk.CreateSnapshot("new", DateTime.UnixEpoch));
        Attempt(() => disk.ApplySnapshot("first"));
        Attempt(() => disk.DeleteSnapshot("first"));
        Attempt(() => disk.Resize((disk.Length & -512) + (1 << 20)));
        Attempt(disk.Flush);
    }

    private static void Attempt(Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is BadInputException or IOException)
        {
        }
    }

    private static Qcow2Image Open(Files.IImageFile file, bool readOnly) =>
        new(file, Qcow2Header.Read("image", (at, target) => file.Read(at, target)), null, new ImageOptions("image") { ReadOnly = readOnly, Unmap = true });
}
