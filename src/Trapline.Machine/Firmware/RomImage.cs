using Trapline.Machine.Boot;

namespace Trapline.Machine.Firmware;

/// <summary>A firmware image given as the kernel: it lies below 4 GiB, its end also below 1 MiB, and the processor starts at its reset vector.</summary>
internal static class RomImage
{
    public const int Granule = 0x1_0000, Largest = 16 << 20;

    /// <summary>How much of a ROM shows below 1 MiB.</summary>
    public const int LowWindow = 0x2_0000;

    private const int ResetVectorFromEnd = 16;

    /// <summary>Firmware comes in whole 64 KiB and has a jump where the processor starts (SDM Vol. 3, 10.1.4).</summary>
    public static bool Recognizes(BootFile file)
    {
        ReadOnlySpan<byte> image = file.Content.Span;
        if (image.Length is < Granule or > Largest || image.Length % Granule != 0)
            return false;
        BinaryView view = new(file);
        if (LinuxLoader.Recognizes(view) || ElfImage.Recognizes(view) || BootSectorLoader.Recognizes(view) || MultibootLoader.TryFindHeader(view, out _))
            return false;
        return image[^ResetVectorFromEnd] is 0xEA or 0xE9 or 0xEB || image[^ResetVectorFromEnd..].StartsWith(new byte[] { 0x90, 0x90, 0xE9 })
            || image[^ResetVectorFromEnd..].StartsWith(new byte[] { 0x0F, 0x09, 0xE9 })
            || image[^ResetVectorFromEnd..].StartsWith(new byte[] { 0x0F, 0x20, 0xC0 }); // UEFI looks at CR0 first
    }
}
