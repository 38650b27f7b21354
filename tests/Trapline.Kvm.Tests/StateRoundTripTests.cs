using System.Text.Json;
using Trapline.X86;

namespace Trapline.Kvm.Tests;

/// <summary>What goes into the kernel comes out of it, to the last bit; what it cannot hold is refused, with a reason.</summary>
public sealed class StateRoundTripTests
{
    private const int States = 10_000;

    [KvmTheory]
    [InlineData("max", 1)]
    [InlineData("epyc", 2)]
    public void TenThousandStatesPassThroughUnchanged(string name, int seed)
    {
        CpuModel model = CpuModel.Create(name, [], out _)!;
        using KvmBench bench = new(model);
        RandomVcpuState random = new(seed, bench.Cpu.Model);
        int passed = 0, refused = 0;
        while (passed < States)
        {
            VcpuState state = Whole(random.Next(), model, bench.Cpu.Model);
            try
            {
                bench.Cpu.Import(state);
            }
            catch (ArgumentException reason)
            {
                // Hosts without hardware have neither 32-bit paging nor virtual-8086 mode.
                bool legacyPaging = (state.Cr0 & Cr0.Pg) != 0 && (state.Msrs[Msr.Efer] & Efer.Lma) == 0;
                Assert.True(legacyPaging || (state.Rflags & Rflags.Vm) != 0, reason.Message);
                Assert.StartsWith("this host's KVM ", reason.Message);
                refused++;
                continue;
            }
            Assert.Equal(JsonSerializer.Serialize(state), JsonSerializer.Serialize(bench.Cpu.Export()));
            passed++;
        }
        Assert.True(refused < 2 * States);
    }

    [KvmFact]
    public void WhatTheHostDoesNotHaveIsRefusedWithAReason()
    {
        using KvmBench bench = new();
        bench.Enter(64);
        VcpuState state = bench.Cpu.Export();
        ulong foreign = CpuModel.Max.Cr4Bits & ~bench.Cpu.Model.Cr4Bits;
        if (foreign == 0)
            return; // this host has all that we know
        ArgumentException refusal = Assert.Throws<ArgumentException>(() => bench.Cpu.Import(state with { Cr4 = state.Cr4 | foreign }));
        Assert.StartsWith("this host's KVM has not all that CR4 has enabled", refusal.Message);
    }

    /// <summary>The registers that the state may leave out, as at reset; and nothing in components that the host's CPU lacks.</summary>
    private static VcpuState Whole(VcpuState state, CpuModel machine, CpuModel host)
    {
        Dictionary<uint, ulong> msrs = [];
        VcpuState reset = VcpuReset.PowerOn(machine, isBootProcessor: true);
        foreach (uint index in VcpuMsrs.Owned)
            if (VcpuMsrs.Has(machine, index))
                msrs[index] = state.Msrs.TryGetValue(index, out ulong value) ? value : reset.Msrs.GetValueOrDefault(index);
        byte[] xsave = [.. state.Xsave];
        if (!host.Has(Feature.Avx))
            xsave.AsSpan(XsaveLayout.AvxOffset, XsaveLayout.AvxSize).Clear();
        return state with { Msrs = msrs, Xsave = xsave };
    }
}
