using Trapline.X86;

namespace Trapline.Cpu.Tests;

public class CpuidTests
{
    private const uint ApicBit = 1 << 9;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Apic_that_its_base_register_turned_off_is_not_reported(bool off)
    {
        CpuidInputs inputs = new(ApicId: 0, CpuCount: 1, Cr4: 0, Xcr0: 1, Xss: 0, ApicOff: off);
        Assert.Equal(off ? 0 : ApicBit, CpuModel.Max.Cpuid(1, 0, inputs).Edx & ApicBit);
    }

    private static readonly CpuidInputs Plain = new(ApicId: 0, CpuCount: 1, Cr4: 0, Xcr0: 1, Xss: 0);

    [Theory]
    [InlineData("max")]
    [InlineData("x86-64-v1")]
    [InlineData("epyc")]
    public void Kvms_interface_is_where_its_guests_look_for_it(string name)
    {
        CpuModel model = CpuModel.Parse(name, out _)!;
        // "KVMKVMKVM" and three zeros in EBX, ECX, EDX (Linux, Documentation/virt/kvm/x86/cpuid.rst); the timing leaf stays.
        Assert.Equal(new CpuidResult(0x4000_0010, 0x4B4D_564B, 0x564B_4D56, 0x4D), model.Cpuid(0x4000_0000, 0, Plain));
        Assert.Equal(0x0100_3AEBu, model.Cpuid(0x4000_0001, 0, Plain).Eax);
        Assert.Equal(1_000_000u, model.Cpuid(0x4000_0010, 0, Plain).Eax);
    }

    [Theory]
    [InlineData("kvmclock", 1u << 0 | 1u << 3 | 1u << 24)]
    [InlineData("kvmclock-stable-bit", 1u << 24)]
    [InlineData("kvm-nopiodelay", 1u << 1)]
    [InlineData("kvm-steal-time", 1u << 5 | 1u << 9)] // a TLB flush is left where stolen time is counted
    [InlineData("kvm-pv-eoi", 1u << 6)]
    [InlineData("kvm-pv-unhalt", 1u << 7)]
    [InlineData("kvm-pv-tlb-flush", 1u << 9)]
    [InlineData("kvm-pv-ipi", 1u << 11)]
    [InlineData("kvm-poll-control", 1u << 12)]
    [InlineData("kvm-pv-sched-yield", 1u << 13)]
    public void Each_part_of_it_can_be_left_out(string feature, uint bits)
    {
        CpuModel model = CpuModel.Parse("max,-" + feature, out _)!;
        Assert.Equal(0x0100_3AEBu & ~bits, model.Cpuid(0x4000_0001, 0, Plain).Eax);
        Assert.Equal(CpuModel.Max.Cpuid(0x4000_0000, 0, Plain), model.Cpuid(0x4000_0000, 0, Plain));
    }

    [Fact]
    public void Without_kvm_the_leaves_are_only_ours()
    {
        CpuModel model = CpuModel.Parse("max,-kvm", out _)!;
        Assert.NotEqual(CpuModel.Max.Cpuid(0x4000_0000, 0, Plain).Ebx, model.Cpuid(0x4000_0000, 0, Plain).Ebx);
        Assert.Equal(default, model.Cpuid(0x4000_0001, 0, Plain));
        Assert.Equal(CpuModel.Max.Cpuid(0x4000_0010, 0, Plain), model.Cpuid(0x4000_0010, 0, Plain));
        CpuModel hidden = CpuModel.Parse("max,-hypervisor", out _)!;
        Assert.False(hidden.Has(Feature.Kvm));
        Assert.Equal(hidden.Cpuid(0x16, 0, Plain), hidden.Cpuid(0x4000_0000, 0, Plain)); // no such leaf: the last basic one
    }
}
