using System.IO.Compression;
using K4os.Compression.LZ4;
using Trapline.Core;
using Trapline.Host;
using Trapline.Machine.Boot;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine.Tests;

public sealed class UnpackedKernelTests
{
    private const string ByTheHost = "Linux 64-bit, unpacked", ByTheGuest = "Linux 64-bit";
    private const ulong Address = 0x100_0000;

    // Where the made-up kernel has a field of each kind, in its image, and what they hold.
    private const int Narrow = 0x100, Inverse = 0x200, Wide = 0x1FF8;
    private const uint NarrowValue = 0x8123_4567, InverseValue = 0xFF00_0000;
    private const ulong WideValue = 0xFFFF_FFFF_8123_0000;

    [Theory]
    [InlineData("lz4")]
    [InlineData("gzip")]
    [InlineData("zstd")]
    public void AKernelIsInPlaceAsItsDecompressorWouldPutIt(string format)
    {
        if (format == "zstd" && !Zstandard.IsAvailable)
            return;
        using Loaded loaded = new(Image(format, Kernel()));
        Assert.Equal(ByTheHost, loaded.Plan.Protocol);
        Assert.Equal(Address + 0x40, loaded.Plan.Enter(new VcpuState()).Rip);
        Assert.Equal(Kernel()[0x1000..0x3000], loaded.Read(Address, 0x2000));
        Assert.Equal(0, loaded.LoadFlags & 2);
    }

    [Fact]
    public void FormatsOfTheGuestAreLeftToIt()
    {
        byte[] xz = [0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, 0, 0, 0, 0x40, 0, 0];
        using Loaded loaded = new(Image(xz));
        Assert.Equal(ByTheGuest, loaded.Plan.Protocol);
        Assert.Equal(Address + 0x200, loaded.Plan.Enter(new VcpuState()).Rip);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)] // Linux 6.15 and later have two lists
    public void AVirtualAddressIsChosen(bool hasInverse)
    {
        byte[] kernel = [.. Kernel(), .. Table(0, Wide), .. hasInverse ? Table(0, Inverse) : [], .. Table(0, Narrow)];
        HashSet<uint> offsets = [];
        for (int i = 0; i < 8; i++)
        {
            using Loaded loaded = new(Image("lz4", kernel));
            Assert.Equal(ByTheHost, loaded.Plan.Protocol);
            Assert.Equal(2, loaded.LoadFlags & 2);
            uint offset = BitConverter.ToUInt32(loaded.Read(Address + Narrow, 4)) - NarrowValue;
            Assert.Equal(0u, offset % 0x20_0000);
            Assert.True(offset <= 0x3F00_0000 - 0x20_0000);
            Assert.Equal(InverseValue - (hasInverse ? offset : 0), BitConverter.ToUInt32(loaded.Read(Address + Inverse, 4)));
            Assert.Equal(WideValue + offset, BitConverter.ToUInt64(loaded.Read(Address + Wide, 8)));
            offsets.Add(offset);
        }
        Assert.True(offsets.Count > 1, "eight times the same");

        using Loaded still = new(Image("lz4", kernel), "quiet nokaslr\tx");
        Assert.Equal(ByTheHost, still.Plan.Protocol);
        Assert.Equal(0, still.LoadFlags & 2);
        Assert.Equal(Kernel()[0x1000..0x3000], still.Read(Address, 0x2000));
    }

    [Fact]
    public void WhatIsNotUnderstoodIsLeftToTheGuest()
    {
        byte[] kernel = Kernel();
        byte[][] tables =
        [
            Table(0, 0x2000), // in the part that has no bytes in the file
            Table(0, 0x1FFC), // a wide field that is half outside
            Table(Wide, Narrow),
            [0, 0, 0, 0, 1],
            [.. Table(0, Wide), .. Table(0, Inverse), .. Table(0, Narrow), .. Table(0)],
        ];
        foreach (byte[] table in tables)
            IsLeft(Image("lz4", [.. kernel, .. table, .. table.Length == 8 ? Table(0) : []]));

        byte[] elsewhere = (byte[])kernel.Clone();
        BootImages.Put64(elsewhere, 64 + 24, Address + 0x20_0000);
        IsLeft(Image("lz4", elsewhere));
        byte[] huge = (byte[])kernel.Clone();
        BootImages.Put64(huge, 64 + 40, 0x1000_0000);
        IsLeft(Image("lz4", huge));
        byte[] older = Image("lz4", [.. kernel, .. Table(0, Wide), .. Table(0, Narrow)]);
        older[0x236] &= 0xDF;
        IsLeft(older);

        static void IsLeft(byte[] image)
        {
            using Loaded loaded = new(image);
            Assert.Equal(ByTheGuest, loaded.Plan.Protocol);
            Assert.Equal(image[(5 * 512)..], loaded.Read(Address, image.Length - (5 * 512)));
            Assert.Equal(0, loaded.LoadFlags & 2);
        }
    }

    [Fact]
    public void AnInitrdLiesBehindAllOfTheKernel()
    {
        byte[] kernel = Kernel();
        BootImages.Put64(kernel, 64 + 40, 0x280_0000); // the header's init_size says 2 MiB
        byte[] initrd = new byte[9 << 20];
        Assert.Throws<BadInputException>(() => new Loaded(Image("lz4", kernel), "", initrd));
        using Loaded loaded = new(Image("lz4", kernel), "", initrd[..(7 << 20)]);
        Assert.Equal(ByTheHost, loaded.Plan.Protocol);
    }

    [Fact]
    public void CorruptPayloadsAreTakenOrLeftNeverWorse()
    {
        byte[] kernel = [.. Kernel(), .. Table(0, Wide), .. Table(0, Inverse), .. Table(0, Narrow)];
        Random random = new(20_250);
        int left = 0;
        foreach (string format in Zstandard.IsAvailable ? new[] { "lz4", "gzip", "zstd", "plain" } : ["lz4", "gzip", "plain"])
        {
            for (int i = 0; i < 400; i++)
            {
                byte[] image;
                if (format == "plain")
                {
                    byte[] mutated = Mutated(kernel, random.Next(2) == 0 ? 0 : kernel.Length - 32, random);
                    image = Image("lz4", mutated);
                }
                else
                {
                    image = Mutated(Image(format, kernel), (5 * 512) + 16, random);
                }
                using Loaded loaded = new(image);
                Assert.StartsWith(ByTheGuest, loaded.Plan.Protocol, StringComparison.Ordinal);
                left += loaded.Plan.Protocol == ByTheGuest ? 1 : 0;
            }
        }
        Assert.InRange(left, 100, 1500);
    }

    [Fact]
    public void Lz4LegacyFrames()
    {
        byte[] content = new byte[(8 << 20) + 12_345];
        new Random(1).NextBytes(content.AsSpan(0, 1000));
        content.AsSpan(0, 1000).CopyTo(content.AsSpan((8 << 20) - 500));
        byte[] frame = Lz4(content), target = new byte[content.Length];
        Assert.True(Lz4Legacy.TryUnpack(frame, target));
        Assert.True(content.AsSpan().SequenceEqual(target));

        Assert.False(Lz4Legacy.TryUnpack(frame, new byte[content.Length - 1]));
        Assert.False(Lz4Legacy.TryUnpack(frame, new byte[content.Length + 1]));
        Assert.False(Lz4Legacy.TryUnpack([.. frame, 0], target));
        Assert.False(Lz4Legacy.TryUnpack(frame.AsSpan()[1..], target));
        for (int length = 0; length < 64; length++)
            Assert.False(Lz4Legacy.TryUnpack(frame.AsSpan()[..length], target));
    }

    private static byte[] Mutated(byte[] seed, int from, Random random)
    {
        byte[] image = (byte[])seed.Clone();
        for (int n = random.Next(1, 4); n > 0; n--)
            image[random.Next(from, Math.Min(from + 160, image.Length))] = (byte)random.Next(256);
        return image;
    }

    /// <summary>An ELF kernel of one segment, more of it in memory than in the file.</summary>
    private static byte[] Kernel()
    {
        byte[] file = BootImages.Pvh(wide: true);
        BootImages.Put16(file, 56, 1);
        BootImages.Put64(file, 24, Address + 0x40);
        BootImages.Put64(file, 64 + 24, Address);
        BootImages.Put64(file, 64 + 32, 0x2000);
        BootImages.Put64(file, 64 + 40, 0x8000);
        BootImages.Put32(file, 0x1000 + Narrow, NarrowValue);
        BootImages.Put32(file, 0x1000 + Inverse, InverseValue);
        BootImages.Put64(file, 0x1000 + Wide, WideValue);
        return file;
    }

    /// <summary>Entries of a relocation table: zero, or an offset in the image.</summary>
    private static byte[] Table(params int[] entries) =>
        [.. entries.SelectMany(e => BitConverter.GetBytes(e == 0 ? 0u : 0x8000_0000 + (uint)Address + (uint)e))];

    private static byte[] Image(string format, byte[] kernel) => Image(format switch
    {
        "lz4" => [.. Lz4(kernel), .. BitConverter.GetBytes(kernel.Length)],
        "zstd" => [.. Zstd(kernel), .. BitConverter.GetBytes(kernel.Length)],
        _ => Gzip(kernel),
    });

    private static byte[] Image(byte[] payload)
    {
        byte[] image = BootImages.BzImage();
        image[0x236] |= 0x20;
        BootImages.Put32(image, 0x248, 16);
        BootImages.Put32(image, 0x24C, (uint)payload.Length);
        payload.CopyTo(image, (5 * 512) + 16);
        return image;
    }

    private static byte[] Lz4(byte[] content)
    {
        List<byte> frame = [0x02, 0x21, 0x4C, 0x18];
        foreach (byte[] block in content.Chunk(8 << 20))
        {
            byte[] packed = new byte[LZ4Codec.MaximumOutputSize(block.Length)];
            int length = LZ4Codec.Encode(block, packed);
            frame.AddRange(BitConverter.GetBytes(length));
            frame.AddRange(packed.AsSpan(0, length));
        }
        return [.. frame];
    }

    private static byte[] Zstd(byte[] content)
    {
        byte[] packed = new byte[content.Length + 1024];
        return packed[..Zstandard.Pack(content, packed)];
    }

    private static byte[] Gzip(byte[] content)
    {
        using MemoryStream packed = new();
        using (GZipStream stream = new(packed, CompressionLevel.Optimal))
            stream.Write(content);
        return packed.ToArray();
    }

    /// <summary>A machine's memory with a kernel loaded.</summary>
    private sealed class Loaded : IDisposable
    {
        private readonly GuestMemory _memory;

        public Loaded(byte[] image, string commandLine = "", byte[]? initrd = null)
        {
            MemoryLayout layout = MemoryLayout.For(64 << 20);
            _memory = new GuestMemory(layout.Regions);
            try
            {
                Plan = KernelLoader.Load(new BootSpecification
                {
                    Kernel = new BootFile("kernel", image),
                    Initrd = initrd is null ? null : new BootFile("initrd", initrd),
                    CommandLine = commandLine,
                }, new BootTarget(_memory, layout, 0xE0000, longMode: true));
            }
            catch
            {
                _memory.Dispose();
                throw;
            }
        }

        public BootPlan Plan { get; }

        public byte LoadFlags => Read(Plan.Enter(new VcpuState()).General[6] + 0x211, 1)[0];

        public byte[] Read(ulong address, int length)
        {
            byte[] bytes = new byte[length];
            Assert.True(_memory.TryRead(new Gpa(address), bytes));
            return bytes;
        }

        public void Dispose() => _memory.Dispose();
    }
}
