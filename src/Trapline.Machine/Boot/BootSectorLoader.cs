namespace Trapline.Machine.Boot;

/// <summary>A boot sector, or a whole disk image that begins with one: started as a PC's firmware starts its first hard disk.</summary>
internal static class BootSectorLoader
{
    private const ulong LoadAddress = 0x7C00;
    private const int SectorLength = 512;

    /// <summary>The first hard disk, and the first diskette for images of that size.</summary>
    public const byte HardDisk = 0x80, Diskette = 0;

    public static bool Recognizes(BinaryView image) => image.Has(0, SectorLength) && image.U16(SectorLength - 2) == 0xAA55;

    /// <summary>Diskette images are told by their size: 160 KiB to 2.88 MiB.</summary>
    public static byte DriveFor(ulong length) => length is 163840 or 184320 or 327680 or 368640 or 737280 or 1228800 or 1474560 or 2949120
        ? Diskette
        : HardDisk;

    public static BootPlan Load(BinaryView image, BootTarget target)
    {
        target.Load(LoadAddress, image.Slice(0, SectorLength, "boot sector"), $"boot sector '{image.File.Name}'");
        byte drive = DriveFor(image.Length);
        return new BootPlan("boot sector", reset =>
        {
            X86.VcpuState state = EntryStates.Real(reset, 0, (ushort)LoadAddress, 0, (ushort)LoadAddress);
            state.General[2] = drive; // DL
            return state with { Rflags = X86.Rflags.Fixed | X86.Rflags.If };
        }, Services: true);
    }
}
