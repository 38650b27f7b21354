using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Machine;

/// <summary>What a range of guest-physical space is, as ACPI and E820 number it (ACPI 6.5, table 15.4).</summary>
public enum MemoryMapType : uint
{
    Usable = 1,
    Reserved = 2,
}

/// <summary>One range of the map that the guest is told.</summary>
public readonly record struct MemoryMapEntry(ulong Start, ulong Length, MemoryMapType Type)
{
    public ulong End => Start + Length;
}

/// <summary>Where this machine's RAM is: below the VGA window, from there to the PCI hole, and from 4 GiB.</summary>
/// <param name="MemoryBytes">All of it; some lies under the VGA window and cannot be reached, as on a PC.</param>
/// <param name="RomBytes">A firmware ROM that ends at 4 GiB, and shows its last 128 KiB below 1 MiB too.</param>
public sealed record MemoryLayout(ulong MemoryBytes, ulong RomBytes = 0)
{
    /// <summary>Where the extended BIOS data area would begin: the end of base memory.</summary>
    public const ulong BaseMemoryEnd = 0x9_FC00;

    /// <summary>End of RAM below 4 GiB.</summary>
    public ulong LowEnd => Math.Min(MemoryBytes, MachineConstants.LowMemoryLimit);

    /// <summary>End of RAM above 4 GiB, or 4 GiB when there is none.</summary>
    public ulong HighEnd => MachineConstants.HighMemoryStart + MemoryBytes - LowEnd;

    /// <summary>Where the ROM begins.</summary>
    public ulong RomStart => MachineConstants.HighMemoryStart - RomBytes;

    /// <summary>Regions of the backing store: low memory at its own address, high memory after it.</summary>
    public IReadOnlyList<MemoryRegion> Regions
    {
        get
        {
            List<MemoryRegion> regions = [new(new Gpa(0), MachineConstants.VgaHoleStart, MemoryKind.Ram, 0)];
            if (RomBytes == 0)
            {
                regions.Add(Ram(MachineConstants.VgaHoleEnd, LowEnd));
            }
            else
            {
                ulong shown = Math.Min(RomBytes, Firmware.RomImage.LowWindow), low = MachineConstants.FirmwareAreaEnd - shown;
                regions.Add(Ram(MachineConstants.VgaHoleEnd, low));
                regions.Add(new(new Gpa(low), shown, MemoryKind.Rom, MemoryBytes + RomBytes - shown));
                if (LowEnd > MachineConstants.FirmwareAreaEnd)
                    regions.Add(Ram(MachineConstants.FirmwareAreaEnd, LowEnd));
                regions.Add(new(new Gpa(RomStart), RomBytes, MemoryKind.Rom, MemoryBytes));
            }
            if (MemoryBytes > LowEnd)
                regions.Add(new(new Gpa(MachineConstants.HighMemoryStart), MemoryBytes - LowEnd, MemoryKind.Ram, LowEnd));
            return regions;
        }
    }

    private static MemoryRegion Ram(ulong start, ulong end) => new(new Gpa(start), end - start, MemoryKind.Ram, start);

    /// <summary>What firmware would report (E820).</summary>
    public IReadOnlyList<MemoryMapEntry> Map
    {
        get
        {
            List<MemoryMapEntry> map =
            [
                new(0, BaseMemoryEnd, MemoryMapType.Usable),
                new(BaseMemoryEnd, MachineConstants.VgaHoleStart - BaseMemoryEnd, MemoryMapType.Reserved),
                new(MachineConstants.FirmwareAreaStart, MachineConstants.FirmwareAreaEnd - MachineConstants.FirmwareAreaStart, MemoryMapType.Reserved),
            ];
            if (LowEnd > MachineConstants.FirmwareAreaEnd)
                map.Add(new(MachineConstants.FirmwareAreaEnd, LowEnd - MachineConstants.FirmwareAreaEnd, MemoryMapType.Usable));
            map.Add(new(MachineConstants.EcamBase, MachineConstants.EcamLength, MemoryMapType.Reserved));
            if (MemoryBytes > LowEnd)
                map.Add(new(MachineConstants.HighMemoryStart, MemoryBytes - LowEnd, MemoryMapType.Usable));
            return map;
        }
    }

    /// <exception cref="BadInputException">A machine cannot have this much, or so little.</exception>
    public static MemoryLayout For(ulong bytes, ulong romBytes = 0)
    {
        if (bytes < MachineConstants.MinimumMemory)
            throw new BadInputException($"memory of {bytes} bytes is too small: give at least 1M");
        if (bytes > MachineConstants.MaximumMemory)
            throw new BadInputException($"memory of {bytes >> 30} GiB is too large: give at most {MachineConstants.MaximumMemory >> 30}G");
        if ((bytes & 0xFFF) != 0)
            throw new BadInputException($"memory of {bytes} bytes is not a multiple of 4096");
        return new MemoryLayout(bytes, romBytes);
    }
}
