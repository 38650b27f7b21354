using System.Buffers.Binary;
using System.Text;

namespace Trapline.Machine.Boot;

/// <summary>ELF kernels with Xen's PVH entry (xen/include/public/arch-x86/hvm/start_info.h, docs/misc/pvh): 32-bit, no paging, EBX points at the start info.</summary>
internal static class PvhLoader
{
    private const uint Phys32Entry = 18;
    private const uint StartInfoMagic = 0x336E_C578;
    private const ulong ModuleList = LowMemory.StartInfo + 0x40;
    private const ulong MemoryMap = LowMemory.StartInfo + 0x80;

    public static bool TryLoad(BootSpecification boot, ElfImage elf, BinaryView image, BootTarget target, out BootPlan plan)
    {
        plan = null!;
        if (!elf.TryGetNote("Xen\0"u8, Phys32Entry, out ReadOnlyMemory<byte> note))
            return false;
        ulong entry = note.Length switch
        {
            4 => BinaryPrimitives.ReadUInt32LittleEndian(note.Span),
            8 => BinaryPrimitives.ReadUInt64LittleEndian(note.Span),
            _ => throw image.Bad($"has a PVH entry note of {note.Length} bytes: the file is corrupt"),
        };
        if (entry > uint.MaxValue || !elf.Segments.Any(s => entry >= s.PhysicalAddress && entry < s.End))
            throw image.Bad($"has its PVH entry point at 0x{entry:x}, outside what it loads: the file is corrupt");
        if (elf.Lowest < 0x10_0000)
            throw image.Bad($"loads at 0x{elf.Lowest:x}, where the start info goes: link it at 1 MiB or above");
        elf.Load(target);

        byte[] commandLine = Encoding.UTF8.GetBytes(boot.CommandLine + "\0");
        if (commandLine.Length > LowMemory.CommandLineRoom)
            throw new Core.BadInputException($"the kernel command line has {commandLine.Length - 1} bytes and there is room for {LowMemory.CommandLineRoom - 1}: shorten it");
        target.Load(LowMemory.CommandLine, commandLine, "command line");
        WriteStartInfo(boot, target, elf.Highest);
        LowMemory.WriteGdt(target, longMode: false);
        plan = new BootPlan("PVH", reset =>
        {
            X86.VcpuState state = EntryStates.Protected(reset, entry, LowMemory.Gdt);
            state.General[3] = LowMemory.StartInfo; // RBX
            return state;
        });
        return true;
    }

    private static void WriteStartInfo(BootSpecification boot, BootTarget target, ulong taken)
    {
        IReadOnlyList<MemoryMapEntry> map = target.Layout.Map;
        byte[] info = new byte[0x80 + (map.Count * 24)];
        Span<byte> s = info;
        BinaryPrimitives.WriteUInt32LittleEndian(s, StartInfoMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(s[4..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(s[24..], LowMemory.CommandLine);
        BinaryPrimitives.WriteUInt64LittleEndian(s[32..], target.Rsdp);
        BinaryPrimitives.WriteUInt64LittleEndian(s[40..], MemoryMap);
        BinaryPrimitives.WriteUInt32LittleEndian(s[48..], (uint)map.Count);
        if (boot.Initrd is { } initrd)
        {
            string what = $"initrd '{initrd.Name}'";
            ulong place = target.PlaceHigh((ulong)initrd.Content.Length, target.Layout.LowEnd, taken <= target.Layout.LowEnd ? taken : 0, what);
            target.Load(place, initrd.Content.Span, what);
            BinaryPrimitives.WriteUInt32LittleEndian(s[12..], 1);
            BinaryPrimitives.WriteUInt64LittleEndian(s[16..], ModuleList);
            BinaryPrimitives.WriteUInt64LittleEndian(s[0x40..], place);
            BinaryPrimitives.WriteUInt64LittleEndian(s[0x48..], (ulong)initrd.Content.Length);
        }
        for (int i = 0; i < map.Count; i++)
        {
            Span<byte> entry = s.Slice(0x80 + (i * 24), 24);
            BinaryPrimitives.WriteUInt64LittleEndian(entry, map[i].Start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], map[i].Length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], (uint)map[i].Type);
        }
        target.Load(LowMemory.StartInfo, info, "start info");
    }
}
