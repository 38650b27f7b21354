using Trapline.Storage.Qcow2;
using Trapline.Testing;

namespace Trapline.Storage.Tests;

public sealed class Qcow2ThreadTests : IDisposable
{
    private const int Threads = 4, Sectors = 16384;
    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Each thread has every fourth sector for its own, so all of them meet in every cluster; another one flushes and takes snapshots.</summary>
    [Theory]
    [InlineData(65536, false)]
    [InlineData(4096, true)]
    public async Task ThreadsThatMeetInEveryClusterDoNotDisturbEachOther(int clusterSize, bool lazy)
    {
        string path = _folder.File("a.qcow2");
        ImageCreator.CreateQcow2(path, new Qcow2Settings { Size = Sectors * 512, ClusterSize = clusterSize, LazyRefcounts = lazy });
        int[] expected = new int[Sectors];
        using (Qcow2Image disk = Open(path))
        {
            using CancellationTokenSource end = new();
            Task manager = Task.Run(() => Manage(disk, end.Token));
            await Task.WhenAll(Enumerable.Range(0, Threads).Select(own => Task.Run(() => Work(disk, own, expected))));
            await end.CancelAsync();
            await manager;
            Compare(disk, expected);
        }
        using (Qcow2Image disk = Open(path))
            Compare(disk, expected);
        Assert.True(ImageCheck.Check(path) is { Corruptions: 0, Leaks: 0 });
    }

    [Fact]
    public void RequestsToMappedClustersAllocateNothing()
    {
        string path = _folder.File("a.qcow2");
        ImageCreator.CreateQcow2(path, new Qcow2Settings { Size = Sectors * 512 });
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path });
        byte[] buffer = new byte[8192];
        disk.Write(0, buffer);
        Round();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            Round();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        void Round()
        {
            disk.Write(4096, buffer);
            disk.Read(2048, buffer);
            disk.Flush();
        }
    }

    private static void Work(Qcow2Image disk, int own, int[] expected)
    {
        Random random = new(own);
        byte[] data = new byte[512];
        for (int i = 1; i <= 4000; i++)
        {
            int sector = (random.Next(Sectors / Threads) * Threads) + own;
            long at = sector * 512L;
            switch (random.Next(8))
            {
                case < 4:
                    int mark = (i << 3) | own;
                    System.Runtime.InteropServices.MemoryMarshal.Cast<byte, int>(data.AsSpan()).Fill(mark);
                    disk.Write(at, data);
                    expected[sector] = mark;
                    break;
                case 4:
                    disk.WriteZeroes(at, 512, mayUnmap: true);
                    expected[sector] = 0;
                    break;
                default:
                    disk.Read(at, data);
                    Assert.Equal(expected[sector], BitConverter.ToInt32(data, random.Next(128) * 4));
                    break;
            }
        }
    }

    private static void Manage(Qcow2Image disk, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            disk.CreateSnapshot("now", DateTime.UnixEpoch);
            disk.Flush();
            disk.DeleteSnapshot("now");
            end.WaitHandle.WaitOne(2);
        }
    }

    private static void Compare(Qcow2Image disk, int[] expected)
    {
        byte[] data = new byte[512];
        for (int i = 0; i < Sectors; i++)
        {
            disk.Read(i * 512L, data);
            Assert.Equal(expected[i], BitConverter.ToInt32(data, 0));
        }
    }

    private static Qcow2Image Open(string path) =>
        (Qcow2Image)DiskImage.Open(new DiskSpecification { Path = path, Unmap = true, Cache = CacheMode.Unsafe });
}
