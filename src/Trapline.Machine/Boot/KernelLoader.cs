using Trapline.Core;

namespace Trapline.Machine.Boot;

/// <summary>Tells a kernel's kind from its content and loads it. Whatever the bytes, the result is a plan or <see cref="BadInputException"/>.</summary>
public static class KernelLoader
{
    /// <exception cref="BadInputException">The kernel or initrd cannot be used; the message says why.</exception>
    public static BootPlan Load(BootSpecification boot, BootTarget target)
    {
        BinaryView image = new(boot.Kernel);
        if (image.Length == 0)
            throw image.Bad("is empty");
        if (boot.Initrd is { Content.IsEmpty: true } empty)
            throw new BadInputException($"initrd '{empty.Name}' is empty");
        if (boot.CommandLine.Contains('\0', StringComparison.Ordinal))
            throw new BadInputException("the kernel command line contains a zero byte: remove it");

        if (LinuxLoader.Recognizes(image))
            return LinuxLoader.Load(boot, target);
        // A disk image may hold a kernel near its start; what boots from it is its boot sector.
        bool bootSector = BootSectorLoader.Recognizes(image);
        if (MultibootLoader.TryFindHeader(image, out ulong header) && (!bootSector || MultibootLoader.IsWhole(image, header)))
            return MultibootLoader.Load(boot, image, header, target);
        if (ElfImage.Recognizes(image))
        {
            ElfImage elf = ElfImage.Parse(image);
            return PvhLoader.TryLoad(boot, elf, image, target, out BootPlan plan)
                ? plan
                : throw image.Bad("is an ELF file with neither a PVH note nor a Multiboot header: build the kernel with CONFIG_PVH or give its bzImage");
        }
        if (bootSector)
        {
            return boot.Initrd is null
                ? BootSectorLoader.Load(image, target)
                : throw new BadInputException($"'{boot.Kernel.Name}' is a boot sector, which takes no initrd: leave out '{boot.Initrd.Name}'");
        }
        throw image.Bad($"is {WrongKind(image)}: give a bzImage, an ELF kernel with a PVH note, a Multiboot kernel, a boot sector or a firmware image");
    }

    private static string WrongKind(BinaryView image)
    {
        ReadOnlySpan<byte> start = image.File.Content.Span;
        if (start.StartsWith(new byte[] { 0x1F, 0x8B }))
            return "gzip-compressed data; unpack it first";
        if (start.StartsWith(new byte[] { 0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z' }))
            return "xz-compressed data; unpack it first";
        if (start.StartsWith(new byte[] { 0x28, 0xB5, 0x2F, 0xFD }))
            return "zstd-compressed data; unpack it first";
        if (start.StartsWith("070701"u8))
            return "a cpio archive, which is what an initrd is";
        if (start.StartsWith("!<arch>\n"u8))
            return "a package or library archive";
        if (start.StartsWith(new byte[] { (byte)'Q', (byte)'F', (byte)'I', 0xFB }))
            return "a qcow2 disk image";
        if (image.Has(0x38, 4) && image.U32(0x38) == 0x644D_5241)
            return "an Arm64 kernel, which an x86 machine cannot run";
        if (start.StartsWith(new byte[] { 0x7F, (byte)'E', (byte)'L', (byte)'F' }))
            return "a truncated ELF file";
        if (start.StartsWith("MZ"u8))
            return "an EFI or DOS program without a Linux header";
        return image.Length < 512 ? $"not a kernel ({image.Length} bytes)" : "not a kernel of any known kind";
    }
}
