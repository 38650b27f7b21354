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
}
