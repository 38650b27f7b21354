using System.Security.Cryptography;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Machine.Boot;

/// <summary>
/// A bzImage's kernel in place as if its own decompressor had run (arch/x86/boot/compressed/misc.c and kaslr.c), which costs a software CPU far more than the host.
/// </summary>
/// <param name="Entry">Where it is entered, physical: startup_64 of arch/x86/kernel/head_64.S.</param>
/// <param name="End">Where what it occupies ends, its zeroed part included.</param>
/// <param name="IsRandomized">Its virtual address was chosen at random.</param>
internal sealed record UnpackedKernel(ulong Entry, ulong End, bool IsRandomized)
{
    private const ulong LargePage = 2 << 20;

    /// <summary>KERNEL_IMAGE_SIZE: the virtual space for the image, of any kernel whose address can be chosen.</summary>
    private const ulong ImageSpace = 1 << 30;

    private const ushort KnowsFiveLevels = 1 << 5;

    /// <summary>Unpacks and loads it; null, with nothing loaded, where that is better left to the kernel.</summary>
    /// <param name="code">Where the file's protected-mode code begins.</param>
    /// <param name="address">Where the kernel prefers to be.</param>
    public static UnpackedKernel? TryLoad(BinaryView image, ulong code, ulong address, string commandLine, BootTarget target)
    {
        uint offset = image.U32(0x248);
        ulong at = code + offset, length = image.U32(0x24C);
        if (offset == 0 || !image.Has(at, length))
            return null;
        using ScratchMemory? unpacked = KernelPayload.TryUnpack(image.Slice(at, length, "payload"), target.Layout.LowEnd);
        if (unpacked is null)
            return null;
        try
        {
            return TryLoad(image, new BinaryView(new BootFile(image.File.Name, unpacked.Memory)), unpacked.GetSpan(), address, commandLine, target);
        }
        catch (BadInputException)
        {
            // No such ELF file. The guest's decompressor has the last word on it.
            return null;
        }
    }

    private static UnpackedKernel? TryLoad(BinaryView image, BinaryView file, Span<byte> bytes, ulong address, string commandLine, BootTarget target)
    {
        if (!ElfImage.Recognizes(file))
            return null;
        ElfImage elf = ElfImage.Parse(file);
        if (!elf.Is64Bit || elf.Lowest != address || !elf.Segments.Any(s => elf.Entry - s.PhysicalAddress < s.FileLength)
            || !elf.Segments.All(s => target.IsUsable(s.PhysicalAddress, s.MemoryLength)))
            return null;
        bool isRandomized = elf.FileEnd != file.Length && !IsAsked(commandLine, "nokaslr");
        if (isRandomized && !TryMove(image, bytes, elf))
            return null;
        elf.Load(target);
        return new UnpackedKernel(elf.Entry, elf.Highest, isRandomized);
    }

    /// <summary>Gives the kernel a random virtual address. It stays where it is in physical memory, as kernels allow that have both apart (since Linux 4.8).</summary>
    private static bool TryMove(BinaryView image, Span<byte> bytes, ElfImage elf)
    {
        ulong alignment = image.U32(0x230), size = (Math.Max((ulong)bytes.Length, elf.Highest - elf.Lowest) + LargePage - 1) & ~(LargePage - 1);
        // Nothing in the header tells 4.8 and later from those before but this flag, which came much later.
        if ((image.U16(0x236) & KnowsFiveLevels) == 0 || !ulong.IsPow2(alignment) || alignment < LargePage || elf.Lowest + size > ImageSpace)
            return false;
        if (elf.FileEnd > (ulong)bytes.Length || !KernelRelocations.TryRead(bytes[(int)elf.FileEnd..], out KernelRelocations relocations))
            return false;
        ulong places = 1 + ((ImageSpace - elf.Lowest - size) / alignment);
        return relocations.TryApply(bytes, elf.Segments, (ulong)RandomNumberGenerator.GetInt32((int)places) * alignment);
    }

    /// <summary>A word of the command line, which anything up to a space separates (arch/x86/boot/cmdline.c).</summary>
    private static bool IsAsked(string commandLine, string word) =>
        new string([.. commandLine.Select(c => c <= ' ' ? ' ' : c)]).Split(' ').Contains(word);
}
