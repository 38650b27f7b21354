using System.Buffers.Binary;
using System.Text;
using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine.Boot;

/// <summary>Linux's bzImage (Documentation/arch/x86/boot.rst): 64-bit entry where kernel and CPU have it, 32-bit below, real mode for the oldest.</summary>
internal static class LinuxLoader
{
    private const ulong HeaderMagic = 0x202;
    private const uint HdrS = 0x5372_6448;
    private const byte LoadedHigh = 1, Randomized = 2, CanUseHeap = 0x80;
    private const ushort Kernel64 = 1;
    private const byte LoaderType = 0xFF;

    // Real-mode hand-over: boot sector and setup at 0x90000, stack and heap above, the command line after them.
    private const ushort SetupSegment = 0x9000;
    private const ulong SetupRoom = 0x9800;
    private const ulong RealCommandLine = 0x9_9800;

    public static bool Recognizes(BinaryView image) =>
        image.Has(HeaderMagic, 4) && image.U32(HeaderMagic) == HdrS && image.U16(0x1FE) == 0xAA55;

    public static BootPlan Load(BootSpecification boot, BootTarget target)
    {
        BinaryView image = new(boot.Kernel);
        ushort version = image.U16(0x206);
        if (version is < 0x200 or > 0x2FF)
            throw image.Bad($"names boot protocol {version >> 8}.{version & 0xFF:00}, which does not exist: the file is corrupt");
        byte setupSectors = image.U8(0x1F1);
        ulong setupLength = (setupSectors == 0 ? 5ul : setupSectors + 1ul) * 512;
        if (!image.Has(setupLength, 1))
            throw image.Bad("is truncated: it ends inside its set-up code");
        ulong codeLength = image.Length - setupLength;
        if (version >= 0x204 && (ulong)image.U32(0x1F4) * 16 > codeLength + 15)
            throw image.Bad($"is truncated: {(ulong)image.U32(0x1F4) * 16} bytes of code are announced and {codeLength} are there");

        bool high = (image.U8(0x211) & LoadedHigh) != 0;
        // A loader in a kernel's clothes (iPXE) names no 32-bit entry point: only its real-mode code can start it.
        if (!high || version < 0x202 || (version < 0x20C && image.U32(0x214) == 0))
            return LoadRealMode(boot, image, target, version, setupLength, high);

        // A relocatable kernel that is loaded below its preferred address moves itself up to it ("init_size"): nothing is gained there.
        ulong address = version >= 0x20A ? image.U64(0x258) : 0x10_0000;
        ulong needed = version >= 0x20A ? Math.Max(image.U32(0x260), codeLength) : codeLength;
        if (address is < 0x10_0000 or >= MachineConstants.LowMemoryLimit)
            throw image.Bad($"asks to be loaded at 0x{address:x}, where no kernel can run: the file is corrupt");
        target.Require(address, needed, $"kernel '{boot.Kernel.Name}'");
        bool enter64 = version >= 0x20C && (image.U16(0x236) & Kernel64) != 0 && target.LongMode;
        UnpackedKernel? unpacked = enter64 ? UnpackedKernel.TryLoad(image, setupLength, address, boot.CommandLine, target) : null;
        if (unpacked is null)
            target.Load(address, image.Slice(setupLength, codeLength, "code"), $"kernel '{boot.Kernel.Name}'");

        byte[] zeroPage = new byte[4096];
        ulong headerEnd = Math.Min(HeaderMagic + image.U8(0x201), 0x290);
        image.Slice(0x1F1, headerEnd - 0x1F1, "header").CopyTo(zeroPage.AsSpan(0x1F1));
        zeroPage[0x210] = LoaderType;
        // What the kernel's decompressor tells it, it is told in its place (KASLR_FLAG).
        zeroPage[0x211] = (byte)((zeroPage[0x211] & ~Randomized) | CanUseHeap | (unpacked is { IsRandomized: true } ? Randomized : 0));
        BinaryPrimitives.WriteUInt16LittleEndian(zeroPage.AsSpan(0x224), 0xFE00);
        BinaryPrimitives.WriteUInt32LittleEndian(zeroPage.AsSpan(0x214), (uint)address);
        BinaryPrimitives.WriteUInt64LittleEndian(zeroPage.AsSpan(0x70), target.Rsdp);
        BinaryPrimitives.WriteUInt64LittleEndian(zeroPage.AsSpan(0x250), 0);
        WriteMemoryMap(zeroPage, target);
        WriteCommandLine(boot, image, target, zeroPage, version);
        WriteInitrd(boot, image, target, zeroPage, version, Math.Max(address + needed, unpacked?.End ?? 0));
        target.Load(LowMemory.ZeroPage, zeroPage, "boot parameters");

        LowMemory.WriteGdt(target, enter64);
        if (enter64)
        {
            if (codeLength <= 0x200)
                throw image.Bad("is truncated: it ends before its 64-bit entry point");
            LowMemory.WriteIdentityMap(target);
            ulong entry = unpacked?.Entry ?? address + 0x200;
            return new BootPlan(unpacked is null ? "Linux 64-bit" : "Linux 64-bit, unpacked",
                reset => WithZeroPage(EntryStates.Long(reset, entry, LowMemory.Gdt, LowMemory.PageTables)));
        }
        return new BootPlan("Linux 32-bit", reset => WithZeroPage(EntryStates.Protected(reset, address, LowMemory.Gdt)));
    }

    private static VcpuState WithZeroPage(VcpuState state)
    {
        state.General[6] = LowMemory.ZeroPage; // RSI
        state.General[4] = LowMemory.BootStackTop;
        return state;
    }

    private static void WriteMemoryMap(byte[] zeroPage, BootTarget target)
    {
        IReadOnlyList<MemoryMapEntry> map = target.Layout.Map;
        zeroPage[0x1E8] = (byte)map.Count;
        for (int i = 0; i < map.Count; i++)
        {
            Span<byte> entry = zeroPage.AsSpan(0x2D0 + (i * 20), 20);
            BinaryPrimitives.WriteUInt64LittleEndian(entry, map[i].Start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], map[i].Length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], (uint)map[i].Type);
        }
        // For kernels that do not read the map: KiB above 1 MiB, in the two ways BIOSes told it.
        ulong extended = (target.Layout.LowEnd - 0x10_0000) >> 10;
        BinaryPrimitives.WriteUInt32LittleEndian(zeroPage.AsSpan(0x1E0), (uint)extended);
        BinaryPrimitives.WriteUInt16LittleEndian(zeroPage.AsSpan(0x2), (ushort)Math.Min(extended, 0xFC00));
    }

    private static void WriteCommandLine(BootSpecification boot, BinaryView image, BootTarget target, byte[] zeroPage, ushort version)
    {
        byte[] text = CommandLineBytes(boot, version >= 0x206 ? image.U32(0x238) : 255);
        target.Load(LowMemory.CommandLine, text, "command line");
        BinaryPrimitives.WriteUInt32LittleEndian(zeroPage.AsSpan(0x228), (uint)LowMemory.CommandLine);
    }

    private static byte[] CommandLineBytes(BootSpecification boot, uint limit)
    {
        byte[] text = Encoding.UTF8.GetBytes(boot.CommandLine + "\0");
        uint most = Math.Min(limit == 0 ? 255 : limit, LowMemory.CommandLineRoom - 1);
        if ((uint)text.Length - 1 > most)
            throw new BadInputException($"the kernel command line has {text.Length - 1} bytes and kernel '{boot.Kernel.Name}' takes {most}: shorten it");
        return text;
    }

    private static void WriteInitrd(
        BootSpecification boot, BinaryView image, BootTarget target, byte[] zeroPage, ushort version, ulong taken)
    {
        if (boot.Initrd is not { } initrd)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(zeroPage.AsSpan(0x218), 0);
            return;
        }
        ulong highest = version >= 0x203 ? image.U32(0x22C) : 0x37FF_FFFF;
        ulong length = (ulong)initrd.Content.Length;
        string what = $"initrd '{initrd.Name}'";
        ulong address = target.PlaceHigh(length, highest + 1, taken, what);
        target.Load(address, initrd.Content.Span, what);
        BinaryPrimitives.WriteUInt32LittleEndian(zeroPage.AsSpan(0x218), (uint)address);
        BinaryPrimitives.WriteUInt32LittleEndian(zeroPage.AsSpan(0x21C), (uint)length);
    }

    /// <summary>The original hand-over: the kernel's own real-mode code asks our firmware for what it needs.</summary>
    private static BootPlan LoadRealMode(BootSpecification boot, BinaryView image, BootTarget target, ushort version, ulong setupLength, bool high)
    {
        string what = $"kernel '{boot.Kernel.Name}'";
        if (setupLength > SetupRoom - 0x1000)
            throw image.Bad($"has {setupLength} bytes of set-up code, more than real mode has room for: the file is corrupt");
        ulong codeLength = image.Length - setupLength;
        ulong address = high ? 0x10_0000ul : 0x1_0000ul;
        if (!high && codeLength > 0x8_0000)
            throw image.Bad($"is a zImage of {codeLength} bytes, which does not fit below 640 KiB: the file is corrupt");
        target.Require(address, codeLength, what);
        target.Load(address, image.Slice(setupLength, codeLength, "code"), what);

        byte[] setup = image.Slice(0, setupLength, "set-up code").ToArray();
        setup[0x210] = LoaderType;
        if (version >= 0x201)
        {
            setup[0x211] |= CanUseHeap;
            BinaryPrimitives.WriteUInt16LittleEndian(setup.AsSpan(0x224), (ushort)(SetupRoom - 0x200));
        }
        if (boot.Initrd is { } initrd)
        {
            ulong place = target.PlaceHigh((ulong)initrd.Content.Length, 0x3800_0000, high ? address + (codeLength * 4) : 0, $"initrd '{initrd.Name}'");
            target.Load(place, initrd.Content.Span, $"initrd '{initrd.Name}'");
            BinaryPrimitives.WriteUInt32LittleEndian(setup.AsSpan(0x218), (uint)place);
            BinaryPrimitives.WriteUInt32LittleEndian(setup.AsSpan(0x21C), (uint)initrd.Content.Length);
        }
        target.Load(RealCommandLine, CommandLineBytes(boot, 255), "command line");
        if (version >= 0x202)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(setup.AsSpan(0x228), (uint)RealCommandLine);
        }
        else
        {
            // "The old command line protocol": a magic and an offset in the boot sector.
            BinaryPrimitives.WriteUInt16LittleEndian(setup.AsSpan(0x20), 0xA33F);
            BinaryPrimitives.WriteUInt16LittleEndian(setup.AsSpan(0x22), (ushort)(RealCommandLine - ((ulong)SetupSegment << 4)));
        }
        target.Load((ulong)SetupSegment << 4, setup, what);
        return new BootPlan("Linux real mode", reset => RealEntry(reset), Services: true);
    }

    private static VcpuState RealEntry(VcpuState reset)
    {
        VcpuState state = EntryStates.Real(reset, SetupSegment, 0, SetupSegment, (ushort)SetupRoom);
        state.Segments[SegmentIndex.Cs] = state.Segments[SegmentIndex.Cs] with { Selector = SetupSegment + 0x20, Base = (SetupSegment + 0x20ul) << 4 };
        return state;
    }
}
