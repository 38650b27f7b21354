using Trapline.Core;
using Trapline.Storage.Qcow2;
using Trapline.Testing;

namespace Trapline.Storage.Tests;

/// <summary>Requests whose memory lies in many parts do what the same requests in one piece do.</summary>
public sealed class ScatteredTests : IDisposable
{
    private const int Size = 4 << 20, MostParts = 600;

    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Parts of one array that does not move, in the order of their numbers.</summary>
    private sealed class Parts(byte[] storage, List<(int Start, int Length)> parts) : IScatteredMemory
    {
        public int Count => parts.Count;
        public int LengthOf(int part) => parts[part].Length;
        public Span<byte> this[int part] => storage.AsSpan(parts[part].Start, parts[part].Length);

        public byte[] All => [.. parts.SelectMany(p => storage[p.Start..(p.Start + p.Length)])];

        public static Parts Random(Random random)
        {
            byte[] storage = GC.AllocateUninitializedArray<byte>(2 << 20, pinned: true);
            random.NextBytes(storage);
            List<(int, int)> parts = [];
            bool aligned = random.Next(2) == 0;
            for (int at = 0, count = random.Next(1, MostParts); count > 0; count--)
            {
                int length = aligned ? 4096 : random.Next(3000);
                if (at + length > storage.Length)
                    break;
                parts.Add((at, length));
                at += length + (aligned ? 0 : random.Next(200));
            }
            // Their order in memory is not theirs in the request.
            (int, int)[] shuffled = [.. parts];
            random.Shuffle(shuffled);
            return new Parts(storage, [.. shuffled]);
        }
    }

    [Theory]
    [InlineData("raw", CacheMode.Writeback)]
    [InlineData("raw", CacheMode.Unsafe)]
    [InlineData("raw", CacheMode.None)]
    [InlineData("qcow2", CacheMode.Writeback)]
    [InlineData("overlay", CacheMode.Writeback)]
    public void RandomRequestsAgreeWithAnArray(string kind, CacheMode cache)
    {
        Random random = new(11);
        byte[] model = new byte[Size];
        string path = _folder.File("disk." + kind);
        if (kind == "raw")
        {
            File.WriteAllBytes(path, model);
        }
        else
        {
            string? backing = kind == "overlay" ? _folder.File("base.img") : null;
            if (backing is not null)
            {
                random.NextBytes(model.AsSpan(0, Size / 2));
                File.WriteAllBytes(backing, model);
            }
            ImageCreator.CreateQcow2(path, new Qcow2Settings { Size = Size, BackingName = backing, BackingFormat = ImageFormat.Raw });
        }
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path, Format = kind == "raw" ? ImageFormat.Raw : ImageFormat.Qcow2, Cache = cache });
        for (int i = 0; i < 150; i++)
        {
            Parts parts = Parts.Random(random);
            int all = parts.All.Length;
            int from = random.Next(2) == 0 ? 0 : random.Next(Math.Min(all, 5000) + 1), length = Math.Min((all - from) & ~511, Size), offset = random.Next(((Size - length) / 512) + 1) * 512;
            if (random.Next(2) == 0)
            {
                disk.Write(offset, parts, from, length);
                parts.All.AsSpan(from, length).CopyTo(model.AsSpan(offset));
                continue;
            }
            byte[] before = parts.All;
            disk.Read(offset, parts, from, length);
            byte[] after = parts.All;
            Assert.True(model.AsSpan(offset, length).SequenceEqual(after.AsSpan(from, length)));
            Assert.True(before.AsSpan(0, from).SequenceEqual(after.AsSpan(0, from)));
            Assert.True(before.AsSpan(from + length).SequenceEqual(after.AsSpan(from + length)));
        }
        byte[] whole = new byte[Size];
        disk.Read(0, whole);
        Assert.Equal(model, whole);
    }

    [Fact]
    public void WhatIsMissingInTheFileReadsAsZeroes()
    {
        string path = _folder.File("short.img");
        File.WriteAllBytes(path, [.. Enumerable.Repeat((byte)7, 700)]);
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path, Format = ImageFormat.Raw });
        Parts parts = new(GC.AllocateArray<byte>(1024, pinned: true), [(512, 300), (0, 300), (812, 212), (300, 212)]);
        parts[2].Fill(9);
        disk.Read(0, parts, 0, 1024);
        Assert.Equal([.. Enumerable.Repeat((byte)7, 700), .. new byte[324]], parts.All);
        Assert.Throws<IOException>(() => disk.Read(0, parts, 512, 1024)); // there is less of it
    }
}
