using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using Trapline.Core;
using Trapline.Machine.Boot;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine.Tests;

public sealed class KernelLoaderTests : IDisposable
{
    private readonly MemoryLayout _layout = MemoryLayout.For(64 << 20);
    private readonly GuestMemory _memory;
    private readonly BootTarget _target;

    public KernelLoaderTests()
    {
        _memory = new GuestMemory(_layout.Regions);
        _target = new BootTarget(_memory, _layout, 0xE0000, longMode: true);
    }

    public void Dispose() => _memory.Dispose();

    private (BootPlan Plan, VcpuState State) Load(byte[] kernel, byte[]? initrd = null, string commandLine = "console=ttyS0")
    {
        BootPlan plan = KernelLoader.Load(new BootSpecification
        {
            Kernel = new BootFile("kernel", kernel),
            Initrd = initrd is null ? null : new BootFile("initrd", initrd),
            CommandLine = commandLine,
        }, _target);
        return (plan, plan.Enter(new VcpuState()));
    }

    private string Refusal(byte[] kernel, byte[]? initrd = null, string commandLine = "")
    {
        string message = Assert.Throws<BadInputException>(() => Load(kernel, initrd, commandLine)).Message;
        Assert.DoesNotContain('\n', message);
        return message;
    }

    private byte[] Read(ulong address, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_memory.TryRead(new Gpa(address), bytes));
        return bytes;
    }

    private uint Read32(ulong address) => BinaryPrimitives.ReadUInt32LittleEndian(Read(address, 4));

    private string ReadText(ulong address) => Encoding.UTF8.GetString(Read(address, 200).TakeWhile(b => b != 0).ToArray());

    [Fact]
    public void Linux64()
    {
        byte[] initrd = [1, 2, 3];
        (BootPlan plan, VcpuState state) = Load(BootImages.BzImage(), initrd);
        Assert.Equal("Linux 64-bit", plan.Protocol);
        Assert.Equal(0x100_0200ul, state.Rip);
        Assert.NotEqual(0u, state.Segments[SegmentIndex.Cs].Attributes & SegmentAttributes.Long);
        Assert.Equal(Efer.Lme | Efer.Lma, state.Msrs[Msr.Efer]);
        ulong zeroPage = state.General[6];
        Assert.Equal(0xE0000u, Read32(zeroPage + 0x70));
        Assert.Equal("console=ttyS0", ReadText(Read32(zeroPage + 0x228)));
        Assert.Equal(initrd, Read(Read32(zeroPage + 0x218), 3));
        Assert.Equal(3u, Read32(zeroPage + 0x21C));
        Assert.Equal(_layout.Map.Count, Read(zeroPage + 0x1E8, 1)[0]);
        // The identity map leads 0x1000200 to itself.
        ulong pml4 = state.Cr3;
        ulong pdpt = BinaryPrimitives.ReadUInt64LittleEndian(Read(pml4, 8)) & ~0xFFFul;
        ulong pd = BinaryPrimitives.ReadUInt64LittleEndian(Read(pdpt, 8)) & ~0xFFFul;
        Assert.Equal(0x100_0083ul, BinaryPrimitives.ReadUInt64LittleEndian(Read(pd + (8 * 8), 8)));
    }

    [Fact]
    public void Linux32AndRealMode()
    {
        Assert.Equal("Linux 32-bit", Load(BootImages.BzImage(entry64: false)).Plan.Protocol);
        Assert.Equal("Linux 32-bit", Load(BootImages.BzImage(0x206)).Plan.Protocol);
        (BootPlan plan, VcpuState state) = Load(BootImages.BzImage(0x201));
        Assert.Equal("Linux real mode", plan.Protocol);
        Assert.Equal(0x9020, state.Segments[SegmentIndex.Cs].Selector);
        Assert.Equal(0x9_0200ul, state.Segments[SegmentIndex.Cs].Base);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void PvhKernel(bool wide)
    {
        (BootPlan plan, VcpuState state) = Load(BootImages.Pvh(wide), [9]);
        Assert.Equal("PVH", plan.Protocol);
        Assert.Equal(0x10_0040ul, state.Rip);
        Assert.Equal(0ul, state.Cr0 & Cr0.Pg);
        ulong info = state.General[3];
        Assert.Equal(0x336EC578u, Read32(info));
        Assert.Equal("console=ttyS0", ReadText(Read32(info + 24)));
        Assert.Equal(9, Read(Read32(Read32(info + 16)), 1)[0]);
        Assert.Equal((uint)_layout.Map.Count, Read32(info + 48));
    }

    [Theory]
    [InlineData(false, 0x40_0000u)]
    [InlineData(true, 0x40_0000u)]
    [InlineData(false, 0x8000u)] // as kvm-unit-tests' realmode.flat
    [InlineData(false, 0x7_8000u)]
    public void MultibootElf(bool wide, uint address)
    {
        (BootPlan plan, VcpuState state) = Load(BootImages.MultibootElf(wide, address), [7, 8]);
        Assert.Equal("Multiboot", plan.Protocol);
        Assert.Equal(0x2BADB002ul, state.General[0]);
        ulong info = state.General[3];
        Assert.True(info >= address + 0x5000 || info + 0x1000 <= address);
        Assert.Equal(0x24Du, Read32(info)); // memory, command line, modules, map, loader name
        Assert.Equal("kernel console=ttyS0", ReadText(Read32(info + 16)));
        Assert.Equal((uint)((64 << 10) - 1024), Read32(info + 8));
        ulong module = Read32(info + 24);
        Assert.Equal([7, 8], Read(Read32(module), 2));
        Assert.Equal(2u, Read32(module + 4) - Read32(module));
        Assert.Equal("initrd", ReadText(Read32(module + 8)));
        Assert.Equal("Trapline", ReadText(Read32(info + 64)));
    }

    [Fact]
    public void MultibootWithAddresses()
    {
        (_, VcpuState state) = Load(BootImages.MultibootFlat());
        Assert.Equal(0x10_0060ul, state.Rip);
        Assert.Equal(0x1BADB002u, Read32(0x10_0040));
    }

    [Fact]
    public void BootSectorStartsAt7C00()
    {
        (BootPlan plan, VcpuState state) = Load(BootImages.BootSector());
        Assert.True(plan.Services);
        Assert.Equal((0x7C00ul, 0ul, 0x80ul), (state.Rip, state.Segments[SegmentIndex.Cs].Base, state.General[2]));
        Assert.Equal(0xF4, Read(0x7C00, 1)[0]);
    }

    [Fact]
    public void ALoaderDressedAsAKernelStartsInRealMode()
    {
        byte[] image = BootImages.BzImage(0x207);
        BootImages.Put32(image, 0x214, 0);
        Assert.Equal("Linux real mode", Load(image).Plan.Protocol);
    }

    [Fact]
    public void ADiskWithAKernelInItBootsFromItsBootSector()
    {
        byte[] disk = new byte[0x4000];
        BootImages.BootSector().CopyTo(disk, 0);
        BootImages.MultibootElf()[0x1000..0x100C].CopyTo(disk, 0x1000);
        Assert.Equal("boot sector", Load(disk).Plan.Protocol);
    }

    [Fact]
    public void RefusalsNameTheProblem()
    {
        Assert.Contains("empty", Refusal([]), StringComparison.Ordinal);
        Assert.Contains("not a kernel", Refusal(new byte[4096]), StringComparison.Ordinal);
        Assert.Contains("gzip", Refusal([0x1F, 0x8B, 8, 0]), StringComparison.Ordinal);
        Assert.Contains("truncated", Refusal(BootImages.BzImage()[..3000]), StringComparison.Ordinal);
        Assert.Contains("truncated", Refusal(BootImages.Pvh(true)[..0x1800]), StringComparison.Ordinal);
        Assert.Contains("initrd 'initrd' is empty", Refusal(BootImages.BzImage(), []), StringComparison.Ordinal);
        Assert.Contains("does not fit", Refusal(BootImages.BzImage(), new byte[63 << 20]), StringComparison.Ordinal);
        Assert.Contains("shorten", Refusal(BootImages.BzImage(), null, new string('x', 5000)), StringComparison.Ordinal);
        byte[] arm = BootImages.Pvh(true);
        arm[18] = 183;
        Assert.Contains("another processor", Refusal(arm), StringComparison.Ordinal);
        byte[] plain = BootImages.Pvh(true);
        plain[0x2008] = 17;
        Assert.Contains("PVH", Refusal(plain), StringComparison.Ordinal);
        byte[] huge = BootImages.BzImage();
        BootImages.Put32(huge, 0x260, 0x2000_0000);
        Assert.Contains("is too small", Refusal(huge), StringComparison.Ordinal);
        byte[] high = BootImages.BzImage(); // it would fit at 1 MiB, but such a kernel moves itself to where it prefers to be
        BootImages.Put64(high, 0x258, 0x300_0000);
        BootImages.Put32(high, 0x260, 0x200_0000);
        Assert.Contains("needs 0x3000000 to 0x5000000; give at least 80M", Refusal(high), StringComparison.Ordinal);
    }

    [Fact]
    public void MutatedImagesAreTakenOrRefusedNeverWorse()
    {
        byte[][] seeds =
        [
            BootImages.BzImage(), BootImages.BzImage(0x201), BootImages.BzImage(0x206), BootImages.Pvh(false), BootImages.Pvh(true),
            BootImages.MultibootElf(), BootImages.MultibootElf(true), BootImages.MultibootFlat(), BootImages.BootSector(),
        ];
        Random random = new(20_241);
        byte[] initrd = [1, 2, 3, 4];
        int taken = 0;
        Stopwatch watch = Stopwatch.StartNew();
        for (int i = 0; i < 20_000; i++)
        {
            byte[] seed = seeds[i % seeds.Length];
            byte[] image = Mutate(seed, random);
            try
            {
                Load(image, random.Next(4) == 0 ? initrd : null, "x");
                taken++;
            }
            catch (BadInputException refusal)
            {
                Assert.DoesNotContain('\n', refusal.Message);
            }
        }
        Assert.True(taken > 1000, $"only {taken} taken");
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), $"took {watch.Elapsed}");
    }

    /// <summary>Changes a few bytes or fields where the headers are, to values that break sums and bounds, or cuts the end off.</summary>
    private static byte[] Mutate(byte[] seed, Random random)
    {
        byte[] image = (byte[])seed.Clone();
        int[] headers = [0, 64, 0x1F0, 0x40, 0x1000, 0x2000];
        for (int n = random.Next(1, 5); n > 0; n--)
        {
            int at = Math.Min(headers[random.Next(headers.Length)] + random.Next(0xA0), image.Length - 8);
            switch (random.Next(4))
            {
                case 0:
                    image[at] = (byte)random.Next(256);
                    break;
                case 1:
                    BootImages.Put32(image, at & ~3, Interesting(random));
                    break;
                case 2:
                    BootImages.Put64(image, at & ~7, random.Next(2) == 0 ? ulong.MaxValue - Interesting(random) : ((ulong)Interesting(random) << 32) | Interesting(random));
                    break;
                default:
                    BootImages.Put16(image, at & ~1, (ushort)Interesting(random));
                    break;
            }
        }
        return random.Next(8) == 0 ? image[..random.Next(image.Length)] : image;
    }

    private static uint Interesting(Random random) => random.Next(8) switch
    {
        0 => 0,
        1 => uint.MaxValue,
        2 => 0x8000_0000,
        3 => 0x7FFF_FFFF,
        4 => (uint)random.Next(0x4000),
        5 => 0x10_0000 + (uint)random.Next(0x10_0000),
        6 => 0xFFFF_F000 + (uint)random.Next(0x1000),
        _ => (uint)random.NextInt64(0x1_0000_0000),
    };
}
