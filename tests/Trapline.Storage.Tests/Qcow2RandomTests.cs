using Trapline.Storage.Qcow2;
using Trapline.Testing;

namespace Trapline.Storage.Tests;

/// <summary>Random operations through our code; what comes out is looked over by our own check and by QEMU's tools.</summary>
public sealed class Qcow2RandomTests : IDisposable
{
    private readonly TemporaryDirectory _folder = new();

    public static TheoryData<int, int, bool, string> Kinds => new()
    {
        { 512, 16, false, "none" }, { 512, 64, true, "qcow2" }, { 512, 8, false, "none" }, { 1024, 2, false, "none" }, { 4096, 4, false, "raw" },
        { 4096, 32, true, "none" }, { 4096, 1, false, "raw" }, { 65536, 16, false, "none" }, { 65536, 16, true, "qcow2" }, { 65536, 16, false, "zstd" },
        { 2 << 20, 16, false, "qcow2" },
    };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task RandomOperationsAgreeWithAnArrayAndWithQemu(int clusterSize, int refcountBits, bool lazy, string kind)
    {
        for (int seed = 1; seed <= 3; seed++)
            await RunAsync(seed, clusterSize, refcountBits, lazy, kind);
    }

    private async Task RunAsync(int seed, int clusterSize, int refcountBits, bool lazy, string kind)
    {
        Random random = new(seed);
        byte[] content = new byte[512 * random.Next(1, clusterSize <= 4096 ? 4000 : 20000)];
        string path = _folder.File($"{clusterSize}-{refcountBits}-{kind}-{seed}.qcow2");
        if (kind is "raw" or "qcow2")
        {
            // The backing image may be shorter or longer than the disk on it.
            byte[] below = new byte[512 * random.Next(1, content.Length / 300)];
            random.NextBytes(below);
            MakeBacking(kind, below);
            below.AsSpan(0, Math.Min(below.Length, content.Length)).CopyTo(content);
        }
        ImageCreator.CreateQcow2(path, new Qcow2Settings
        {
            Size = content.Length, ClusterSize = clusterSize, RefcountBits = refcountBits, LazyRefcounts = lazy,
            Compression = kind == "zstd" ? Qcow2Compression.Zstd : Qcow2Compression.Zlib,
            BackingName = kind is "raw" or "qcow2" ? $"base.{kind}" : null,
            BackingFormat = kind == "raw" ? ImageFormat.Raw : ImageFormat.Qcow2,
        });
        DiskModel model = new(random, content);
        for (int round = 0; round < 4; round++)
        {
            using (Qcow2Image disk = Open(path, unmap: random.Next(2) == 0))
            {
                for (int i = 0; i < 150; i++)
                    model.Step(disk, manage: refcountBits > 2);
                model.Compare(disk);
            }
            ImageCheckResult check = ImageCheck.Check(path);
            Assert.True(check is { Corruptions: 0, Leaks: 0, WasNotClosed: false }, $"seed {seed} round {round}: {check} {string.Join("; ", check.Details)}");
        }
        if (new FactNeedingAttribute("qemu-img").Skip != null)
            return;
        string raw = _folder.File("model.raw");
        await File.WriteAllBytesAsync(raw, model.Content);
        await HostProgram.MustAsync("qemu-img", "check", "-f", "qcow2", path);
        await HostProgram.MustAsync("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, raw);
    }

    private void MakeBacking(string kind, byte[] content)
    {
        string path = _folder.File($"base.{kind}");
        if (kind == "raw")
            File.WriteAllBytes(path, content);
        else
        {
            ImageCreator.CreateQcow2(path, new Qcow2Settings { Size = content.Length });
            using DiskImage disk = Open(path, unmap: false);
            disk.Write(0, content);
        }
    }

    private static Qcow2Image Open(string path, bool unmap) =>
        (Qcow2Image)DiskImage.Open(new DiskSpecification { Path = path, Unmap = unmap, Cache = CacheMode.Unsafe });
}
