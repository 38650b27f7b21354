using Trapline.Cpu;
using Trapline.Testing;
using Trapline.X86;

namespace Engines.Differential;

/// <summary>A state that a vCPU cannot be in is refused, with the reason, and changes nothing.</summary>
public sealed class ImpossibleStateTests : IDisposable
{
    private readonly StateBench _bench = new(translate: false, CpuModel.Max);
    private readonly VcpuState _valid;

    public ImpossibleStateTests()
    {
        _valid = StateBench.AtCode(new RandomVcpuState(9, CpuModel.Max).Next(), CpuModel.Max);
        _bench.Cpu.Import(_valid);
    }

    public static TheoryData<string, string> Rules()
    {
        TheoryData<string, string> data = [];
        foreach ((string name, (string reason, _)) in Cases)
            data.Add(name, reason);
        return data;
    }

    private static readonly Dictionary<string, (string Reason, Func<VcpuState, VcpuState> Break)> Cases = new()
    {
        ["general"] = ("16 general registers", s => s with { General = new ulong[15] }),
        ["segments"] = ("8 segment registers", s => s with { Segments = new SegmentState[6] }),
        ["debug"] = ("6 debug registers", s => s with { Debug = new ulong[8] }),
        ["pdptes"] = ("4 page-directory-pointer entries", s => s with { Pdptes = [1, 2, 3] }),
        ["xsave size"] = ("XSAVE image needs", s => s with { Xsave = new byte[512] }),
        ["activity"] = ("activity 9", s => s with { Activity = (VcpuActivity)9 }),
        ["cr0 reserved"] = ("CR0", s => s with { Cr0 = s.Cr0 | 1ul << 32 }),
        ["paging without protection"] = ("CR0.PG needs CR0.PE", s => s with { Cr0 = (s.Cr0 | Cr0.Pg) & ~Cr0.Pe }),
        ["nw without cd"] = ("CR0.NW needs CR0.CD", s => s with { Cr0 = (s.Cr0 | Cr0.Nw) & ~Cr0.Cd }),
        ["cr3"] = ("CR3", s => s with { Cr3 = 1ul << 52 }),
        ["cr4"] = ("CR4", s => s with { Cr4 = s.Cr4 | Cr4.Vmxe }),
        ["cr8"] = ("CR8", s => s with { Cr8 = 16 }),
        ["efer reserved"] = ("EFER", s => WithMsr(s, Msr.Efer, s.Msrs[Msr.Efer] | 1ul << 12)),
        ["lma without lme"] = ("EFER.LMA must follow", s => WithMsr(s, Msr.Efer, Efer.Lma)),
        ["lme and paging without lma"] = ("EFER.LMA must follow", s => WithMsr(s, Msr.Efer, Efer.Lme)),
        ["long mode without pae"] = ("long mode needs CR4.PAE", s => s with { Cr4 = s.Cr4 & ~Cr4.Pae }),
        ["pcid without long mode"] = ("CR4.PCIDE needs long mode", s => WithMsr(s, Msr.Efer, 0) with { Cr4 = s.Cr4 | Cr4.Pcide }),
        ["xcr0 without x87"] = ("XCR0", s => s with { Xcr0 = 6 }),
        ["xcr0 unknown"] = ("XCR0", s => s with { Xcr0 = 1ul << 17 | 1 }),
        ["avx without sse"] = ("XCR0.AVX needs XCR0.SSE", s => s with { Xcr0 = 5 }),
        ["rflags reserved"] = ("RFLAGS", s => s with { Rflags = s.Rflags | 8 }),
        ["rflags fixed"] = ("RFLAGS", s => s with { Rflags = s.Rflags & ~2ul }),
        ["vm86 in long mode"] = ("virtual-8086", s => s with { Rflags = s.Rflags | Rflags.Vm }),
        ["dr7"] = ("DR6 and DR7", s => s with { Debug = [0, 0, 0, 0, 0, 1ul << 40] }),
        ["pending debug"] = ("pending debug", s => s with { PendingDebug = 1ul << 12 }),
        ["access rights"] = ("access rights", s => WithSegment(s, SegmentIndex.Ds, r => r with { Attributes = r.Attributes | 0x100 })),
        ["segment base"] = ("not canonical", s => WithSegment(s, SegmentIndex.Gs, r => r with { Base = 1ul << 50 })),
        ["cs both widths"] = ("64-bit and 32-bit", s => WithSegment(s, SegmentIndex.Cs, r => r with { Attributes = r.Attributes | SegmentAttributes.Big })),
        ["gdtr"] = ("GDTR", s => s with { Gdtr = new TableState(1ul << 60, 0) }),
        ["rip not canonical"] = ("not canonical", s => s with { Rip = 1ul << 47 }),
        ["rip too wide"] = ("too wide", s => WithSegment(s, SegmentIndex.Cs, r => r with { Attributes = r.Attributes & ~SegmentAttributes.Long }) with { Rip = 1ul << 32 }),
        ["msr unknown"] = ("has no MSR 1b", s => WithMsr(s, Msr.ApicBase, 0)),
        ["msr not canonical"] = ("MSR c0000082", s => WithMsr(s, Msr.Lstar, 1ul << 50)),
        ["msr too wide"] = ("MSR c0000084", s => WithMsr(s, Msr.Fmask, 1ul << 32)),
        ["pat"] = ("MSR 277", s => WithMsr(s, Msr.Pat, 2)),
        ["debugctl"] = ("MSR 1d9", s => WithMsr(s, Msr.DebugCtl, 0x40)),
        ["xsave components"] = ("components", s => WithXsave(s, 512, 0x20)),
        ["xsave compacted"] = ("compacted", s => WithXsave(s, 527, 0x80)),
        ["mxcsr"] = ("MXCSR", s => WithXsave(s, 26, 1)),
        ["event while waiting"] = ("takes no event", s => s with { Activity = VcpuActivity.WaitingForStartUp, Injected = new(InjectedKind.ExternalInterrupt, 32) }),
        ["interrupt with code"] = ("cannot be injected", s => s with { Injected = new(InjectedKind.ExternalInterrupt, 32, 0) }),
        ["nmi with other vector"] = ("cannot be injected", s => s with { Injected = new(InjectedKind.NonMaskable, 3) }),
        ["exception 40"] = ("cannot be injected", s => s with { Injected = new(InjectedKind.Exception, 40) }),
        ["#UD with code"] = ("cannot be injected", s => s with { Injected = new(InjectedKind.Exception, Vector.InvalidOpcode, 0) }),
    };

    [Theory]
    [MemberData(nameof(Rules))]
    public void IsRefused(string rule, string reason)
    {
        string before = StateBench.Text(_bench.Cpu.Export());
        ArgumentException refusal = Assert.Throws<ArgumentException>(() => _bench.Cpu.Import(Cases[rule].Break(_valid)));
        Assert.Contains(reason, refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refusal.Message);
        Assert.Equal(before, StateBench.Text(_bench.Cpu.Export()));
    }

    [Fact]
    public void AFeatureThatTheModelLacksIsRefused()
    {
        CpuModel small = CpuModel.Create("max", [("pcid", false), ("avx", false)], out string message) ?? throw new InvalidOperationException(message);
        using StateBench bench = new(translate: false, small);
        VcpuState state = StateBench.AtCode(new RandomVcpuState(9, small).Next(), small);
        bench.Cpu.Import(state);
        Assert.Contains("CR4", Assert.Throws<ArgumentException>(() => bench.Cpu.Import(state with { Cr4 = state.Cr4 | Cr4.Pcide })).Message, StringComparison.Ordinal);
        Assert.Contains("XCR0", Assert.Throws<ArgumentException>(() => bench.Cpu.Import(state with { Xcr0 = 7 })).Message, StringComparison.Ordinal);
    }

    public void Dispose() => _bench.Dispose();

    private static VcpuState WithMsr(VcpuState state, uint index, ulong value) => state with { Msrs = new Dictionary<uint, ulong>(state.Msrs) { [index] = value } };

    private static VcpuState WithSegment(VcpuState state, int index, Func<SegmentState, SegmentState> change)
    {
        SegmentState[] segments = [.. state.Segments];
        segments[index] = change(segments[index]);
        return state with { Segments = segments };
    }

    private static VcpuState WithXsave(VcpuState state, int at, byte value)
    {
        byte[] image = [.. state.Xsave];
        image[at] = value;
        return state with { Xsave = image };
    }
}
