namespace Trapline.X86;

/// <summary>The states that reset, INIT and a start-up IPI lead to (SDM Vol. 3, table 10-1 and 9.4.3).</summary>
public static class VcpuReset
{
    private const ulong PatAtReset = 0x0007_0406_0007_0406;
    private const ulong Dr6AtReset = 0xFFFF_0FF0, Dr7AtReset = 0x400;
    private const uint MxcsrAtReset = 0x1F80;
    private const ushort X87ControlAtReset = 0x40;

    /// <summary>Power-on.</summary>
    /// <param name="isBootProcessor">It runs; the others wait for start-up.</param>
    public static VcpuState PowerOn(CpuModel model, bool isBootProcessor)
    {
        Dictionary<uint, ulong> msrs = new() { [Msr.Efer] = 0, [Msr.Pat] = PatAtReset };
        if (model.IsIntel)
            msrs[Msr.MiscEnable] = 1 | 1ul << 11 | 1ul << 12 | (model.Has(Feature.Monitor) ? 1ul << 18 : 0); // fast strings; no BTS, no PEBS
        byte[] xsave = new byte[XsaveLayout.AvxOffset + XsaveLayout.AvxSize];
        BitConverter.TryWriteBytes(xsave, X87ControlAtReset);
        xsave[4] = 0xFF; // no register is empty
        BitConverter.TryWriteBytes(xsave.AsSpan(24), MxcsrAtReset);
        BitConverter.TryWriteBytes(xsave.AsSpan(28), 0xFFFFu);
        BitConverter.TryWriteBytes(xsave.AsSpan(XsaveLayout.Header), model.Xcr0Bits & (XsaveLayout.X87 | XsaveLayout.Sse | XsaveLayout.Avx));
        return Cold(new VcpuState { Msrs = msrs, Xsave = xsave }, model, isBootProcessor, Cr0.Cd | Cr0.Nw | Cr0.Et);
    }

    /// <summary>INIT: like power-on, but caches, the FPU and most MSRs keep their contents.</summary>
    public static VcpuState Init(VcpuState before, CpuModel model, bool isBootProcessor)
    {
        Dictionary<uint, ulong> msrs = new(before.Msrs) { [Msr.Efer] = 0 };
        return Cold(before with { Msrs = msrs }, model, isBootProcessor, (before.Cr0 & (Cr0.Cd | Cr0.Nw)) | Cr0.Et);
    }

    /// <summary>A start-up IPI: real mode, at <paramref name="vector"/> * 4096.</summary>
    public static VcpuState StartUp(VcpuState waiting, byte vector)
    {
        SegmentState[] segments = [.. waiting.Segments];
        segments[SegmentIndex.Cs] = segments[SegmentIndex.Cs] with { Selector = (ushort)(vector << 8), Base = (ulong)vector << 12 };
        return waiting with { Segments = segments, Rip = 0, Activity = VcpuActivity.Running };
    }

    private static VcpuState Cold(VcpuState before, CpuModel model, bool isBootProcessor, ulong cr0)
    {
        ulong[] general = new ulong[16];
        general[2] = model.Signature;
        SegmentState[] segments = new SegmentState[8];
        Array.Fill(segments, new SegmentState(0, 0, 0xFFFF, 0x93));
        segments[SegmentIndex.Cs] = new SegmentState(0xF000, 0xFFFF_0000, 0xFFFF, 0x93);
        segments[SegmentIndex.Ldtr] = new SegmentState(0, 0, 0xFFFF, 0x82);
        segments[SegmentIndex.Tr] = new SegmentState(0, 0, 0xFFFF, 0x8B);
        return before with
        {
            General = general,
            Rip = 0xFFF0,
            Rflags = Rflags.Fixed,
            Segments = segments,
            Gdtr = new TableState(0, 0xFFFF),
            Idtr = new TableState(0, 0xFFFF),
            Cr0 = cr0,
            Cr2 = 0,
            Cr3 = 0,
            Cr4 = 0,
            Debug = [0, 0, 0, 0, Dr6AtReset, Dr7AtReset],
            Activity = isBootProcessor ? VcpuActivity.Running : VcpuActivity.WaitingForStartUp,
            StiShadow = false,
            MovSsShadow = false,
            NmiPending = false,
            NmiBlocked = false,
            InitPending = false,
            StartUpVector = null,
            Injected = null,
            Pdptes = [],
            PendingDebug = 0,
        };
    }
}
