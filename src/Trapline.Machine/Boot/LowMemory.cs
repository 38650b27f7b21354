using System.Runtime.InteropServices;

namespace Trapline.Machine.Boot;

/// <summary>Where boot protocols put their tables below 640 KiB; the guest may reuse all of it once it has its own.</summary>
internal static class LowMemory
{
    public const ulong Gdt = 0x6000;
    public const ulong StartInfo = 0x6100;
    public const ulong PageTables = 0x9000;
    public const ulong ZeroPage = 0x1_0000;
    public const ulong CommandLine = 0x2_0000;
    public const int CommandLineRoom = 0x1_0000;
    public const ulong BootStackTop = 0x8_0000;

    public static void WriteGdt(BootTarget target, bool longMode) =>
        target.Load(Gdt, MemoryMarshal.AsBytes<ulong>(EntryStates.Gdt(longMode)), "boot descriptors");

    /// <summary>Maps the first 4 GiB to themselves by 2 MiB pages (SDM Vol. 3, 5.5).</summary>
    public static void WriteIdentityMap(BootTarget target)
    {
        ulong[] tables = new ulong[6 * 512];
        tables[0] = (PageTables + 0x1000) | 3;
        for (int i = 0; i < 4; i++)
            tables[512 + i] = (PageTables + 0x2000 + ((ulong)i * 0x1000)) | 3;
        for (int i = 0; i < 4 * 512; i++)
            tables[1024 + i] = ((ulong)i << 21) | 0x83;
        target.Load(PageTables, MemoryMarshal.AsBytes<ulong>(tables), "boot page tables");
    }
}
