using Trapline.X86;

namespace Trapline.Cpu.Tests.Float;

/// <summary>What the differential fuzzer cannot see from user mode: which checks come before, and what an unmasked exception leaves behind.</summary>
public sealed unsafe class SseFloatFamilyTests
{
    private const string AddPs = "0F 58 C1"; // addps xmm0, xmm1
    private const string VAddPs = "C5 F0 58 C1"; // vaddps xmm0, xmm1, xmm1

    private static byte? Run(CpuHarness cpu, string hex)
    {
        cpu.Run(System.Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal)));
        return cpu.Fault?.Vector;
    }

    private static float* Xmm(CpuHarness cpu, int n) => (float*)(cpu.State->Ymm + n * 4);

    [Theory]
    [InlineData(AddPs, 0ul, 0ul, null)]
    [InlineData(AddPs, Cr0.Em, 0ul, Vector.InvalidOpcode)]
    [InlineData(AddPs, Cr0.Ts, 0ul, Vector.DeviceNotAvailable)]
    [InlineData(AddPs, Cr0.Em | Cr0.Ts, 0ul, Vector.InvalidOpcode)]
    [InlineData(AddPs, 0ul, Cr4.OsFxsr, Vector.InvalidOpcode)]
    [InlineData(AddPs, Cr0.Ts, Cr4.OsFxsr, Vector.InvalidOpcode)]
    [InlineData(AddPs, 0ul, Cr4.OsXsave, null)]
    [InlineData(VAddPs, 0ul, 0ul, null)]
    [InlineData(VAddPs, Cr0.Em, 0ul, null)]
    [InlineData(VAddPs, Cr0.Ts, 0ul, Vector.DeviceNotAvailable)]
    [InlineData(VAddPs, 0ul, Cr4.OsFxsr, null)]
    [InlineData(VAddPs, 0ul, Cr4.OsXsave, Vector.InvalidOpcode)]
    public void Availability(string code, ulong cr0Set, ulong cr4Clear, byte? vector)
    {
        using CpuHarness cpu = new();
        cpu.State->Cr0 |= cr0Set;
        cpu.State->Cr4 &= ~cr4Clear;
        Assert.Equal(vector, Run(cpu, code));
    }

    [Theory]
    [InlineData(1ul)]
    [InlineData(3ul)]
    public void Vector_forms_need_their_state_enabled(ulong xcr0)
    {
        using CpuHarness cpu = new();
        cpu.State->Xcr0 = xcr0;
        Assert.Equal(Vector.InvalidOpcode, Run(cpu, VAddPs));
    }

    [Fact]
    public void Vector_forms_are_undefined_in_real_mode()
    {
        using CpuHarness cpu = new(CodeSize.Bits16);
        Assert.Null(Run(cpu, VAddPs));
        cpu.State->Cr0 &= ~Cr0.Pe;
        cpu.Cpu.ModeChanged();
        Assert.Equal(Vector.InvalidOpcode, Run(cpu, VAddPs));
    }

    [Theory]
    [InlineData("0F 58 04 25 08 20 00 00", Vector.GeneralProtection)] // addps xmm0, [2008]
    [InlineData("0F 58 04 25 10 20 00 00", null)]
    [InlineData("F3 0F 58 04 25 09 20 00 00", null)] // addss
    [InlineData("0F 5A 04 25 08 20 00 00", null)] // cvtps2pd: 8 bytes
    [InlineData("C5 F0 58 04 25 08 20 00 00", null)] // vaddps
    public void Legacy_vectors_must_be_aligned(string code, byte? vector)
    {
        using CpuHarness cpu = new();
        Assert.Equal(vector, Run(cpu, code));
    }

    [Theory]
    [InlineData(Cr4.OsXmmExcpt, Vector.SimdError)]
    [InlineData(0ul, Vector.InvalidOpcode)]
    public void An_unmasked_exception_sets_flags_and_changes_no_register(ulong osXmmExcpt, byte vector)
    {
        using CpuHarness cpu = new();
        cpu.State->Cr4 = cpu.State->Cr4 & ~Cr4.OsXmmExcpt | osXmmExcpt;
        cpu.State->Mxcsr = 0x1F80 & ~0x200u; // divide by zero unmasked
        for (int i = 0; i < 4; i++)
        {
            Xmm(cpu, 0)[i] = 1;
            Xmm(cpu, 1)[i] = i == 2 ? 0 : 3;
        }
        Assert.Equal(vector, Run(cpu, "0F 5E C1")); // divps xmm0, xmm1
        // The other elements' precision exceptions are not reported: nothing was computed.
        Assert.Equal(0x1F80u & ~0x200u | 4, cpu.State->Mxcsr);
        Assert.Equal([1, 1, 1, 1], new Span<float>(Xmm(cpu, 0), 4).ToArray());
    }

    [Fact]
    public void Upper_halves()
    {
        using CpuHarness cpu = new();
        new Span<ulong>(cpu.State->Ymm, 64).Fill(0x3F8000003F800000);
        Assert.Null(Run(cpu, AddPs));
        Assert.Equal(0x3F8000003F800000ul, cpu.State->Ymm[2]);
        Assert.Null(Run(cpu, VAddPs));
        Assert.Equal(0x4000000040000000ul, cpu.State->Ymm[1]);
        Assert.Equal(0ul, cpu.State->Ymm[2] | cpu.State->Ymm[3]);
        Assert.Null(Run(cpu, "C5 F4 58 C1")); // vaddps ymm0, ymm1, ymm1
        Assert.Equal(0x4000000040000000ul, cpu.State->Ymm[3]);
    }

    [Fact]
    public void A_model_without_the_feature_has_not_the_instruction()
    {
        using CpuHarness cpu = new(CodeSize.Bits64, CpuModel.Parse("max,-fma,-sse4_1", out _));
        Assert.Equal(Vector.InvalidOpcode, Run(cpu, "C4 E2 71 A8 C2")); // vfmadd213ps
        Assert.Equal(Vector.InvalidOpcode, Run(cpu, "66 0F 3A 40 C1 FF")); // dpps
    }
}
