using System.Buffers.Binary;
using System.Text;
using Trapline.Core;

namespace Trapline.Machine.Boot;

/// <summary>Multiboot 1 kernels (Multiboot Specification 0.6.96): ELF or with addresses in the header, entered in flat 32-bit mode.</summary>
internal static class MultibootLoader
{
    private const uint HeaderMagic = 0x1BAD_B002, EntryMagic = 0x2BAD_B002;
    private const ulong SearchLength = 8192;

    // The information block: the structure itself, one module, descriptors, then the map and the strings.
    private const int GdtAt = 0xA0;

    private const uint WantsAlignedModules = 1, WantsMemoryInfo = 2, WantsVideoMode = 4, HasAddresses = 1 << 16;
    private const uint UnknownRequirements = 0xFFFF & ~(WantsAlignedModules | WantsMemoryInfo | WantsVideoMode);

    private const uint InfoMemory = 1, InfoCommandLine = 1 << 2, InfoModules = 1 << 3, InfoMemoryMap = 1 << 6, InfoLoaderName = 1 << 9;

    /// <summary>Finds the header; offset of its magic.</summary>
    public static bool TryFindHeader(BinaryView image, out ulong offset)
    {
        ulong end = Math.Min(image.Length, SearchLength);
        for (offset = 0; offset + 12 <= end; offset += 4)
        {
            if (image.U32(offset) == HeaderMagic && HeaderMagic + image.U32(offset + 4) + image.U32(offset + 8) == 0)
                return true;
        }
        return false;
    }

    /// <summary>True if the file itself is the kernel: the header has addresses or the file is ELF.</summary>
    public static bool IsWhole(BinaryView image, ulong header) => (image.U32(header + 4) & HasAddresses) != 0 || ElfImage.Recognizes(image);

    public static BootPlan Load(BootSpecification boot, BinaryView image, ulong header, BootTarget target)
    {
        uint flags = image.U32(header + 4);
        if ((flags & UnknownRequirements) != 0)
            throw image.Bad($"requires Multiboot features that do not exist (flags 0x{flags:x}): the file is corrupt or for another loader");
        (ulong entry, ulong lowest, ulong highest) = (flags & HasAddresses) != 0
            ? LoadByAddresses(image, header, target)
            : LoadElf(image, target);
        if (entry > uint.MaxValue || entry < lowest || entry >= highest)
            throw image.Bad($"has its entry point at 0x{entry:x}, outside what it loads: the file is corrupt");

        ulong info = WriteInfo(boot, target, lowest, highest);
        ulong gdt = info + GdtAt;
        return new BootPlan("Multiboot", reset =>
        {
            X86.VcpuState state = EntryStates.Protected(reset, entry, gdt);
            state.General[0] = EntryMagic; // RAX
            state.General[3] = info;       // RBX
            return state;
        }, Services: true); // a Multiboot loader runs on a PC with its BIOS; some kernels drop back to real mode and use it
    }

    private static (ulong Entry, ulong Lowest, ulong Highest) LoadElf(BinaryView image, BootTarget target)
    {
        if (!ElfImage.Recognizes(image))
            throw image.Bad("has a Multiboot header without addresses and is not an ELF file: the file is corrupt");
        ElfImage elf = ElfImage.Parse(image);
        elf.Load(target);
        return (elf.Entry, elf.Lowest, elf.Highest);
    }

    private static (ulong Entry, ulong Lowest, ulong Highest) LoadByAddresses(BinaryView image, ulong header, BootTarget target)
    {
        ulong headerAddress = image.U32(header + 12), load = image.U32(header + 16), loadEnd = image.U32(header + 20);
        ulong bssEnd = image.U32(header + 24), entry = image.U32(header + 28);
        if (headerAddress < load || headerAddress - load > header)
            throw image.Bad("has addresses in its Multiboot header that do not fit the file: the file is corrupt");
        ulong start = header - (headerAddress - load);
        ulong length = loadEnd == 0 ? image.Length - start : loadEnd - load;
        if (loadEnd != 0 && loadEnd < load)
            throw image.Bad("has addresses in its Multiboot header that do not fit the file: the file is corrupt");
        ulong end = Math.Max(load + length, bssEnd);
        target.Require(load, Math.Max(end - load, 1), $"kernel '{image.File.Name}'");
        target.Load(load, image.Slice(start, length, "image"), $"kernel '{image.File.Name}'");
        return (entry, load, end);
    }

    /// <summary>Information, map and strings go high in base memory when the kernel is elsewhere, else right behind the kernel; modules always behind it.</summary>
    private static ulong WriteInfo(BootSpecification boot, BootTarget target, ulong lowest, ulong highest)
    {
        byte[] commandLine = Encoding.UTF8.GetBytes(boot.CommandLine.Length == 0 ? boot.Kernel.Name + "\0" : $"{boot.Kernel.Name} {boot.CommandLine}\0");
        byte[] moduleName = Encoding.UTF8.GetBytes((boot.Initrd?.Name ?? "") + "\0");
        byte[] loader = "Trapline\0"u8.ToArray();
        IReadOnlyList<MemoryMapEntry> map = target.Layout.Map;

        const int moduleAt = 0x80, mapAt = 0x100;
        int stringsAt = mapAt + (map.Count * 24);
        byte[] block = new byte[stringsAt + commandLine.Length + moduleName.Length + loader.Length];
        const ulong high = 0x8_0000;
        bool fits = block.Length <= (int)(MemoryLayout.BaseMemoryEnd - high) && (lowest >= MemoryLayout.BaseMemoryEnd || highest <= high);
        ulong after = (Math.Max(highest, MachineConstants.FirmwareAreaEnd) + 0xFFF) & ~0xFFFul;
        ulong at = fits ? high : after;
        if (!fits)
        {
            target.Require(at, (ulong)block.Length, "command line");
            after = (at + (ulong)block.Length + 0xFFF) & ~0xFFFul;
        }

        Span<byte> s = block;
        System.Runtime.InteropServices.MemoryMarshal.AsBytes<ulong>(EntryStates.Gdt(longMode: false)).CopyTo(s[GdtAt..]);
        uint flags = InfoMemory | InfoCommandLine | InfoMemoryMap | InfoLoaderName;
        BinaryPrimitives.WriteUInt32LittleEndian(s[4..], (uint)(MemoryLayout.BaseMemoryEnd >> 10));
        BinaryPrimitives.WriteUInt32LittleEndian(s[8..], (uint)((target.Layout.LowEnd - 0x10_0000) >> 10));
        BinaryPrimitives.WriteUInt32LittleEndian(s[16..], (uint)at + (uint)stringsAt);
        if (boot.Initrd is { } initrd)
        {
            string what = $"initrd '{initrd.Name}'";
            ulong length = (ulong)initrd.Content.Length;
            if (!target.IsUsable(after, length))
                throw new BadInputException($"memory of {target.Layout.MemoryBytes >> 20} MiB is too small: {what} of {length} bytes does not fit beside the kernel; give more");
            target.Load(after, initrd.Content.Span, what);
            flags |= InfoModules;
            BinaryPrimitives.WriteUInt32LittleEndian(s[20..], 1);
            BinaryPrimitives.WriteUInt32LittleEndian(s[24..], (uint)at + moduleAt);
            BinaryPrimitives.WriteUInt32LittleEndian(s[moduleAt..], (uint)after);
            BinaryPrimitives.WriteUInt32LittleEndian(s[(moduleAt + 4)..], (uint)(after + length));
            BinaryPrimitives.WriteUInt32LittleEndian(s[(moduleAt + 8)..], (uint)(at + (ulong)stringsAt + (ulong)commandLine.Length));
        }
        BinaryPrimitives.WriteUInt32LittleEndian(s, flags);
        BinaryPrimitives.WriteUInt32LittleEndian(s[44..], (uint)map.Count * 24);
        BinaryPrimitives.WriteUInt32LittleEndian(s[48..], (uint)at + mapAt);
        BinaryPrimitives.WriteUInt32LittleEndian(s[64..], (uint)(at + (ulong)(stringsAt + commandLine.Length + moduleName.Length)));
        for (int i = 0; i < map.Count; i++)
        {
            Span<byte> entry = s.Slice(mapAt + (i * 24), 24);
            BinaryPrimitives.WriteUInt32LittleEndian(entry, 20);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[4..], map[i].Start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[12..], map[i].Length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[20..], (uint)map[i].Type);
        }
        commandLine.CopyTo(s[stringsAt..]);
        moduleName.CopyTo(s[(stringsAt + commandLine.Length)..]);
        loader.CopyTo(s[(stringsAt + commandLine.Length + moduleName.Length)..]);
        target.Load(at, block, "boot information");
        return at;
    }
}
