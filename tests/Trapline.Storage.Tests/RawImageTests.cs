using Trapline.Core;
using Trapline.Testing;

namespace Trapline.Storage.Tests;

public sealed class RawImageTests : IDisposable
{
    private const int Size = 4 << 20;
    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(CacheMode.Writeback)]
    [InlineData(CacheMode.Writethrough)]
    [InlineData(CacheMode.None)]
    [InlineData(CacheMode.Unsafe)]
    public void RandomOperationsAgreeWithAnArray(CacheMode cache)
    {
        string path = NewFile("a.img", Size);
        byte[] model = new byte[Size];
        Random random = new(7);
        using (DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path, Cache = cache, Unmap = true }))
        {
            byte[] buffer = new byte[1 << 19];
            for (int i = 0; i < 300; i++)
            {
                // Misaligned in memory at times, so that direct I/O has both kinds.
                int length = random.Next(1, 200) * 512, offset = random.Next((Size - length) / 512) * 512;
                Span<byte> part = buffer.AsSpan(random.Next(2) * 512, length);
                switch (random.Next(5))
                {
                    case 0:
                        disk.WriteZeroes(offset, length, mayUnmap: random.Next(2) == 0);
                        model.AsSpan(offset, length).Clear();
                        break;
                    case 1:
                        disk.Flush();
                        break;
                    case 2 or 3:
                        random.NextBytes(part);
                        disk.Write(offset, part);
                        part.CopyTo(model.AsSpan(offset));
                        break;
                    default:
                        disk.Read(offset, part);
                        Assert.True(part.SequenceEqual(model.AsSpan(offset, length)));
                        break;
                }
            }
        }
        Assert.Equal(model, File.ReadAllBytes(path));
    }

    [Fact]
    public void WhatIsDiscardedIsGivenBackIfAskedFor()
    {
        string path = NewFile("a.img", Size);
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path, Unmap = true });
        disk.Write(0, new byte[1 << 20].Select(_ => (byte)1).ToArray());
        Assert.Equal(new Extent(ExtentKind.Data, 1 << 20, 0), disk.ExtentAt(0));
        disk.Discard(1 << 18, 1 << 18);
        Assert.Equal(new Extent(ExtentKind.Data, 1 << 18, 0), disk.ExtentAt(0));
        Assert.Equal(new Extent(ExtentKind.Zero, 1 << 18, 1 << 18), disk.ExtentAt(1 << 18));
    }

    [Fact]
    public void DiscardsAreIgnoredOtherwise()
    {
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = NewFile("a.img", Size) });
        disk.Write(0, new byte[512].Select(_ => (byte)1).ToArray());
        disk.Discard(0, 4096);
        byte[] read = new byte[1];
        disk.Read(0, read);
        Assert.Equal(1, read[0]);
    }

    [Theory]
    [InlineData(CacheMode.Writeback)]
    [InlineData(CacheMode.None)]
    public void AFileOfOddLengthGoesOnWithZeroes(CacheMode cache)
    {
        string path = NewFile("odd.img", 1000);
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path, Cache = cache });
        Assert.Equal(1024, disk.Length);
        byte[] read = [.. Enumerable.Repeat((byte)9, 512)];
        disk.Read(512, read);
        Assert.Equal(new byte[512], read);
        disk.Write(512, Enumerable.Repeat((byte)5, 512).ToArray());
        Assert.Equal(1024, new FileInfo(path).Length);
    }

    [Fact]
    public void AWriterIsAloneAndReadersShare()
    {
        string path = NewFile("a.img", Size);
        DiskSpecification write = new() { Path = path }, read = write with { ReadOnly = true };
        using (DiskImage.Open(write))
        {
            Assert.Contains($"'{path}' is in use", Assert.Throws<BadInputException>(() => DiskImage.Open(write)).Message, StringComparison.Ordinal);
            Assert.Contains($"'{path}' is being written", Assert.Throws<BadInputException>(() => DiskImage.Open(read)).Message, StringComparison.Ordinal);
        }
        using (DiskImage.Open(read))
        using (DiskImage.Open(read))
            Assert.Throws<BadInputException>(() => DiskImage.Open(write));
        DiskImage.Open(write).Dispose();
    }

    [FactNeeding("qemu-io")]
    public async Task QemuSeesOurLocksAndWeSeeItsLocks()
    {
        string path = NewFile("a.img", Size);
        using (DiskImage.Open(new DiskSpecification { Path = path }))
            Assert.NotEqual(0, (await HostProgram.RunAsync("qemu-io", "-f", "raw", "-c", "read 0 512", path)).Status);
        using HostProgram qemu = HostProgram.Start("qemu-io", "-f", "raw", path);
        // It has opened the file once it answers.
        await qemu.AskAsync("read 0 512", "ops");
        Assert.Throws<BadInputException>(() => DiskImage.Open(new DiskSpecification { Path = path }));
    }

    [Fact]
    public void WhatCannotBeOpenedIsNamed()
    {
        string missing = _folder.File("missing.img");
        Assert.Equal($"'{missing}' cannot be opened: no such file or directory", Complaint(missing));
        Assert.Contains("empty", Complaint(NewFile("empty.img", 0)), StringComparison.Ordinal);
        Assert.Contains("cannot be opened", Complaint(_folder.Path), StringComparison.Ordinal);
    }

    [Fact]
    public void AGuestCannotMakeARawDiskAQcow2Image()
    {
        string path = NewFile("a.img", Size);
        using (DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path }))
            disk.Write(0, [.. "QFI"u8, 0xFB]);
        Assert.Contains("state its format", Complaint(path), StringComparison.Ordinal);
        DiskImage.Open(new DiskSpecification { Path = path, Format = ImageFormat.Raw }).Dispose();
        Assert.Contains("state its format", Complaint(NewFile("a.qcow2", Size)), StringComparison.Ordinal);
    }

    [Fact]
    public void RequestsOutsideTheDiskOrOfAReadOnlyOneAreRefused()
    {
        string path = NewFile("a.img", Size);
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path, ReadOnly = true });
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Read(Size, new byte[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Read(-1, new byte[1]));
        Assert.Throws<IOException>(() => disk.Write(0, new byte[1]));
        Assert.Throws<IOException>(() => disk.WriteZeroes(0, 512, mayUnmap: true));
    }

    [Fact]
    public void RequestsAllocateNothing()
    {
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = NewFile("a.img", Size), Unmap = true });
        byte[] buffer = new byte[4096];
        Round();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            Round();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        void Round()
        {
            disk.Write(4096, buffer);
            disk.Read(4096, buffer);
            disk.WriteZeroes(8192, 4096, mayUnmap: true);
            disk.Discard(4096, 4096);
            disk.Flush();
        }
    }

    private static string Complaint(string path) =>
        Assert.Throws<BadInputException>(() => DiskImage.Open(new DiskSpecification { Path = path })).Message;

    private string NewFile(string name, long length)
    {
        using FileStream file = File.Create(_folder.File(name));
        file.SetLength(length);
        return file.Name;
    }
}
