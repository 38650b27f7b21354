using Trapline.X86;

namespace Trapline.Machine.Boot;

/// <summary>The three ways a boot processor is handed over: real mode, flat 32-bit protected mode, identity-mapped long mode.</summary>
internal static class EntryStates
{
    /// <summary>Boot code and data selectors, as Linux's boot.rst names them.</summary>
    public const ushort CodeSelector = 0x10, DataSelector = 0x18, TaskSelector = 0x20;

    private const uint Code32 = Flat | SegmentAttributes.Code | SegmentAttributes.Big;
    private const uint Code64 = Flat | SegmentAttributes.Code | SegmentAttributes.Long;
    private const uint Data = Flat | SegmentAttributes.Big;
    private const uint Flat = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable | SegmentAttributes.Accessed
        | SegmentAttributes.Granular;
    private const uint RealCode = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable | SegmentAttributes.Accessed;
    private const uint BusyTask = SegmentAttributes.Present | 0xB;

    /// <summary>The descriptors that go with the selectors: null, unused, code 32, data; the task's; and the 64-bit code in code's place when asked.</summary>
    public static ulong[] Gdt(bool longMode) =>
        [0ul, 0ul, longMode ? 0x00AF_9B00_0000_FFFFul : 0x00CF_9B00_0000_FFFFul, 0x00CF_9300_0000_FFFFul, 0x0000_8B00_0000_0067ul, 0ul];

    public static VcpuState Real(VcpuState reset, ushort segment, ushort offset, ushort stackSegment, ushort stackPointer)
    {
        ulong[] general = new ulong[16];
        general[4] = stackPointer;
        SegmentState[] segments = [.. reset.Segments];
        for (int i = SegmentIndex.Es; i <= SegmentIndex.Gs; i++)
            segments[i] = RealSegment(segment);
        segments[SegmentIndex.Ss] = RealSegment(stackSegment);
        return reset with
        {
            General = general,
            Rip = offset,
            Rflags = Rflags.Fixed,
            Segments = segments,
            Idtr = new TableState(0, 0x3FF),
            Activity = VcpuActivity.Running,
        };
    }

    private static SegmentState RealSegment(ushort selector) => new(selector, (ulong)selector << 4, 0xFFFF, RealCode);

    public static VcpuState Protected(VcpuState reset, ulong entry, ulong gdt)
    {
        SegmentState data = new(DataSelector, 0, uint.MaxValue, Data);
        SegmentState[] segments = [data, new(CodeSelector, 0, uint.MaxValue, Code32), data, data, data, data,
            reset.Segments[SegmentIndex.Ldtr], new(TaskSelector, 0, 0x67, BusyTask)];
        return reset with
        {
            General = new ulong[16],
            Rip = entry,
            Rflags = Rflags.Fixed,
            Segments = segments,
            Gdtr = new TableState(gdt, (6 * 8) - 1),
            Idtr = new TableState(0, 0),
            Cr0 = Cr0.Pe | Cr0.Et | Cr0.Ne,
            Activity = VcpuActivity.Running,
        };
    }

    public static VcpuState Long(VcpuState reset, ulong entry, ulong gdt, ulong pageTables)
    {
        VcpuState state = Protected(reset, entry, gdt);
        state.Segments[SegmentIndex.Cs] = new(CodeSelector, 0, uint.MaxValue, Code64);
        Dictionary<uint, ulong> msrs = new(reset.Msrs) { [Msr.Efer] = Efer.Lme | Efer.Lma };
        return state with
        {
            Cr0 = Cr0.Pe | Cr0.Et | Cr0.Ne | Cr0.Pg | Cr0.Wp,
            Cr3 = pageTables,
            Cr4 = Cr4.Pae,
            Msrs = msrs,
        };
    }
}
