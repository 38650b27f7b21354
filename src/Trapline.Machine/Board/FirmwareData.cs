using Trapline.Devices.Firmware;
using Trapline.Devices.Timers;

namespace Trapline.Machine;

/// <summary>What firmware and test suites read of memory and processors: CMOS cells as PC BIOSes keep them, and fw_cfg items.</summary>
internal static class FirmwareData
{
    private const ulong Mebibyte = 1 << 20;
    private const FwCfgKey Irq0Override = FwCfgKey.ArchitectureLocal + 2;

    public static void Describe(RtcCmos cmos, FwCfg configuration, MemoryLayout layout, int vcpus)
    {
        ulong low = layout.LowEnd, high = layout.HighEnd - MachineConstants.HighMemoryStart;
        Word(cmos, 0x15, MemoryLayout.BaseMemoryEnd >> 10);
        ulong extended = Math.Min((low - Mebibyte) >> 10, 0xFFFF);
        Word(cmos, 0x17, extended);
        Word(cmos, 0x30, extended);
        Word(cmos, 0x34, low > 16 * Mebibyte ? Math.Min((low - (16 * Mebibyte)) >> 16, 0xFFFF) : 0); // 64 KiB units above 16 MiB
        Word(cmos, 0x5B, high >> 16);                                                              // 64 KiB units above 4 GiB
        cmos.SetCmos(0x5D, (byte)(high >> 32));
        cmos.SetCmos(0x5F, (byte)(vcpus - 1));
        cmos.SetCmos(0x14, 0x02); // equipment: a coprocessor

        configuration.Add(FwCfgKey.RamSize, layout.MemoryBytes);
        configuration.Add(FwCfgKey.CpuCount, (ushort)vcpus);
        configuration.Add(FwCfgKey.MaximumCpus, (ushort)vcpus);
        configuration.Add(FwCfgKey.NoGraphic, (ushort)1);
        configuration.Add(FwCfgKey.BootMenu, (ushort)0);
        configuration.Add(FwCfgKey.Uuid, new byte[16]);
        configuration.Add(Irq0Override, [1]);
    }

    private static void Word(RtcCmos cmos, int index, ulong value)
    {
        cmos.SetCmos(index, (byte)value);
        cmos.SetCmos(index + 1, (byte)(value >> 8));
    }
}
