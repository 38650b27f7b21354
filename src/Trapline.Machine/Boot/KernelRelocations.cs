using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Trapline.Machine.Boot;

/// <summary>
/// The table behind an ELF kernel that lets its virtual address be chosen (arch/x86/boot/compressed/misc.c, handle_relocations): addresses in 32 bits, each
/// list after a zero. From the end backwards: 32-bit fields, those that an address is subtracted from (per-CPU variables; gone since Linux 6.15), 64-bit fields.
/// </summary>
internal readonly ref struct KernelRelocations
{
    /// <summary>Where the kernel's image is mapped (Documentation/arch/x86/x86_64/mm.rst): __START_KERNEL_map.</summary>
    private const ulong KernelMap = 0xFFFF_FFFF_8000_0000;

    private readonly ReadOnlySpan<uint> _wide, _inverse, _narrow;

    private KernelRelocations(ReadOnlySpan<uint> wide, ReadOnlySpan<uint> inverse, ReadOnlySpan<uint> narrow)
    {
        _wide = wide;
        _inverse = inverse;
        _narrow = narrow;
    }

    /// <summary>Reads what follows the ELF file; false if it is no such table.</summary>
    public static bool TryRead(ReadOnlySpan<byte> table, out KernelRelocations relocations)
    {
        relocations = default;
        ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(table);
        if (table.Length % 4 != 0 || words.IsEmpty || words[0] != 0)
            return false;
        ReadOnlySpan<uint> wide = Take(ref words), second = Take(ref words);
        bool isOlder = !words.IsEmpty;
        ReadOnlySpan<uint> third = Take(ref words);
        if (!words.IsEmpty)
            return false;
        relocations = isOlder ? new KernelRelocations(wide, second, third) : new KernelRelocations(wide, [], second);
        return true;
    }

    /// <summary>Moves the kernel by an offset of its virtual address. False if an entry leads out of the kernel; some were applied then.</summary>
    /// <param name="image">The ELF file.</param>
    public bool TryApply(Span<byte> image, IReadOnlyList<ElfSegment> segments, ulong offset)
    {
        ElfSegment segment = segments[0];
        foreach (uint entry in _narrow)
        {
            if (!TryFind(image, segments, entry, 4, ref segment, out Span<byte> field))
                return false;
            BinaryPrimitives.WriteUInt32LittleEndian(field, BinaryPrimitives.ReadUInt32LittleEndian(field) + (uint)offset);
        }
        foreach (uint entry in _inverse)
        {
            if (!TryFind(image, segments, entry, 4, ref segment, out Span<byte> field))
                return false;
            BinaryPrimitives.WriteUInt32LittleEndian(field, BinaryPrimitives.ReadUInt32LittleEndian(field) - (uint)offset);
        }
        foreach (uint entry in _wide)
        {
            if (!TryFind(image, segments, entry, 8, ref segment, out Span<byte> field))
                return false;
            BinaryPrimitives.WriteUInt64LittleEndian(field, BinaryPrimitives.ReadUInt64LittleEndian(field) + offset);
        }
        return true;
    }

    /// <summary>Takes a zero and what follows it up to the next; nothing where nothing is left.</summary>
    private static ReadOnlySpan<uint> Take(scoped ref ReadOnlySpan<uint> words)
    {
        if (words.IsEmpty)
            return [];
        int length = words[1..].IndexOf(0u);
        ReadOnlySpan<uint> list = length < 0 ? words[1..] : words.Slice(1, length);
        words = words[(1 + list.Length)..];
        return list;
    }

    /// <param name="segment">The last one found: entries are sorted, so it is mostly the next one too.</param>
    private static bool TryFind(Span<byte> image, IReadOnlyList<ElfSegment> segments, uint entry, uint width, ref ElfSegment segment, out Span<byte> field)
    {
        // Sign-extended, as addresses of the kernel are; its segments are told by their physical addresses.
        ulong address = (ulong)(int)entry - KernelMap;
        for (int i = 0; !Holds(segment, address, width); i++)
        {
            if (i == segments.Count)
            {
                field = default;
                return false;
            }
            segment = segments[i];
        }
        field = image.Slice((int)(segment.Offset + (address - segment.PhysicalAddress)), (int)width);
        return true;
    }

    private static bool Holds(ElfSegment segment, ulong address, uint width)
    {
        ulong at = address - segment.PhysicalAddress;
        return at < segment.FileLength && width <= segment.FileLength - at;
    }
}
