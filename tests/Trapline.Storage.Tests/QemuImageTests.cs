using Trapline.Core;
using Trapline.Storage.Qcow2;
using Trapline.Testing;

namespace Trapline.Storage.Tests;

/// <summary>Images that QEMU's tools made, read and written by ours.</summary>
public sealed class QemuImageTests : IDisposable
{
    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [QemuTheory]
    [InlineData("cluster_size=512", false)]
    [InlineData("cluster_size=4k,refcount_bits=1", false)]
    [InlineData("cluster_size=2M", false)]
    [InlineData("lazy_refcounts=on", false)]
    [InlineData("refcount_bits=64,cluster_size=1k", false)]
    [InlineData("refcount_bits=2", false)]
    [InlineData("compat=0.10", false)]
    [InlineData("compat=0.10,cluster_size=4k", true)]
    [InlineData("cluster_size=64k", true)]
    [InlineData("cluster_size=512", true)]
    [InlineData("compression_type=zstd", true)]
    [InlineData("preallocation=metadata", false)]
    public async Task WhatQemuWroteReadsTheSame(string options, bool compressed)
    {
        string image = _folder.File("a.qcow2"), raw = _folder.File("a.raw"), source = _folder.File("source.raw");
        if (compressed)
        {
            await File.WriteAllBytesAsync(source, [.. Enumerable.Range(0, 3 << 20).Select(i => (byte)(i % 5 == 0 ? i >> 10 : i >> 14))]);
            await HostProgram.MustAsync("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, source, image);
        }
        else
            await HostProgram.MustAsync("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, "5M");
        await HostProgram.MustAsync("qemu-io", "-f", "qcow2", "-c", "write -P 17 100k 700k", "-c", "write -P 3 2M 4k", "-c", "discard 200k 128k",
            "-c", "write -z 300k 256k", "-c", "write -z -u 128k 64k", image);
        await HostProgram.MustAsync("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw);
        using (DiskImage disk = DiskImage.Open(new DiskSpecification { Path = image, ReadOnly = true }))
        {
            byte[] content = new byte[disk.Length];
            disk.Read(0, content);
            Assert.True((await File.ReadAllBytesAsync(raw)).AsSpan().SequenceEqual(content));
        }
        Assert.Equal(0, ImageCheck.Check(image).Corruptions);
        if (options.Contains("compat=0.10", StringComparison.Ordinal))
        {
            Assert.Contains("version 2", Assert.Throws<BadInputException>(() => DiskImage.Open(new DiskSpecification { Path = image })).Message, StringComparison.Ordinal);
            return;
        }
        await WriteTooAsync(image, raw);
    }

    [FactNeeding("qemu-img", "qemu-io")]
    public async Task SnapshotsAndChainsOfQemuAreOurs()
    {
        string below = _folder.File("base.raw"), image = _folder.File("a.qcow2"), raw = _folder.File("a.raw");
        await File.WriteAllBytesAsync(below, [.. Enumerable.Range(0, 1 << 20).Select(i => (byte)(i >> 8))]);
        await HostProgram.MustAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", image, "2M");
        await HostProgram.MustAsync("qemu-io", "-f", "qcow2", "-c", "write -P 1 64k 200k", image);
        await HostProgram.MustAsync("qemu-img", "snapshot", "-c", "theirs", image);
        await HostProgram.MustAsync("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw);
        await HostProgram.MustAsync("qemu-io", "-f", "qcow2", "-c", "write -P 2 0 1536k", image);
        using (Qcow2Image disk = (Qcow2Image)DiskImage.Open(new DiskSpecification { Path = image, Unmap = true }))
        {
            Assert.Equal("theirs", Assert.Single(disk.Snapshots).Name);
            disk.CreateSnapshot("ours", DateTime.UtcNow);
            disk.ApplySnapshot("theirs");
            disk.DeleteSnapshot("theirs");
        }
        await HostProgram.MustAsync("qemu-img", "check", image);
        await HostProgram.MustAsync("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, raw);
        await HostProgram.MustAsync("qemu-img", "snapshot", "-a", "ours", image);
        await HostProgram.MustAsync("qemu-io", "-f", "qcow2", "-c", "read -P 2 0 1536k", image);
    }

    [FactNeeding("qemu-img")]
    public async Task WhatWeCannotDoIsRefusedByName()
    {
        string image = _folder.File("a.qcow2");
        await HostProgram.MustAsync("qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", image, "5M");
        Assert.Contains("extended L2 entries", Complaint(image), StringComparison.Ordinal);
        await HostProgram.MustAsync("qemu-img", "create", "-q", "-f", "qcow2", "-o", $"data_file={_folder.File("data")}", image, "5M");
        Assert.Contains("external data file", Complaint(image), StringComparison.Ordinal);
    }

    [FactNeeding("qemu-img")]
    public async Task LoopsAndForeignChainsAreRefused()
    {
        string a = _folder.File("a.qcow2"), b = _folder.File("b.qcow2");
        await HostProgram.MustAsync("qemu-img", "create", "-q", "-f", "qcow2", a, "1M");
        await HostProgram.MustAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", b);
        await HostProgram.MustAsync("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", a);
        Assert.Contains("based on it", Complaint(a), StringComparison.Ordinal);
        await HostProgram.MustAsync("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "nbd:localhost:1", "-F", "raw", a);
        Assert.Contains("only files", Complaint(a), StringComparison.Ordinal);
        await HostProgram.MustAsync("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "a.vmdk", "-F", "vmdk", a);
        Assert.Contains("'vmdk'", Complaint(a), StringComparison.Ordinal);
    }

    private static async Task WriteTooAsync(string image, string raw)
    {
        byte[] content = await File.ReadAllBytesAsync(raw);
        using (DiskImage disk = DiskImage.Open(new DiskSpecification { Path = image, Unmap = true }))
        {
            byte[] ours = [.. Enumerable.Repeat((byte)77, 300 * 512)];
            foreach (int at in new[] { 0, 90 * 1024, 1 << 20, content.Length - ours.Length })
            {
                disk.Write(at, ours);
                ours.CopyTo(content.AsSpan(at));
            }
            disk.WriteZeroes(512, 100 * 1024, mayUnmap: true);
            content.AsSpan(512, 100 * 1024).Clear();
        }
        await File.WriteAllBytesAsync(raw, content);
        await HostProgram.MustAsync("qemu-img", "check", "-f", "qcow2", image);
        await HostProgram.MustAsync("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, raw);
    }

    private static string Complaint(string path) =>
        Assert.Throws<BadInputException>(() => DiskImage.Open(new DiskSpecification { Path = path, ReadOnly = true })).Message;

    private sealed class QemuTheoryAttribute : TheoryAttribute
    {
        public QemuTheoryAttribute() => Skip = new FactNeedingAttribute("qemu-img", "qemu-io").Skip;
    }
}
