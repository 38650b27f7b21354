using Trapline.Cpu.Interpreter.Families;
using Trapline.X86;

namespace Trapline.Cpu.Tests;

/// <summary>Integer instructions where a line of text does not reach.</summary>
public sealed unsafe class IntegerTests
{
    [Theory]
    [InlineData(new byte[] { 0x0F, 0xC7, 0xF0 })] // rdrand eax
    [InlineData(new byte[] { 0x48, 0x0F, 0xC7, 0xF8 })] // rdseed rax
    public void Random_numbers_differ_and_set_carry(byte[] code)
    {
        using var cpu = new CpuHarness();
        HashSet<ulong> seen = [];
        for (int i = 0; i < 1000; i++)
        {
            cpu.Reset();
            cpu.State->Gpr[0] = ulong.MaxValue;
            cpu.Run(code);
            Assert.Equal(Rflags.Cf, Flags.Arithmetic(cpu.State));
            seen.Add(cpu.State->Gpr[0]);
            if (code[0] == 0x0F)
                Assert.True(cpu.State->Gpr[0] <= uint.MaxValue);
        }
        Assert.True(seen.Count > 990);
    }

    [Fact]
    public void Deposit_and_extract_have_a_portable_twin()
    {
        if (!System.Runtime.Intrinsics.X86.Bmi2.X64.IsSupported)
            return;
        var random = new Random(2);
        for (int i = 0; i < 10_000; i++)
        {
            ulong value = (ulong)random.NextInt64(long.MinValue, long.MaxValue), mask = (ulong)random.NextInt64(long.MinValue, long.MaxValue);
            Assert.Equal(System.Runtime.Intrinsics.X86.Bmi2.X64.ParallelBitDeposit(value, mask), Bmi.Deposit(value, mask));
            Assert.Equal(System.Runtime.Intrinsics.X86.Bmi2.X64.ParallelBitExtract(value, mask), Bmi.Extract(value, mask));
        }
    }

    /// <summary>Every combination of the six flags can be set, read back, and changed one by one.</summary>
    [Fact]
    public void Lazy_flags_hold_any_combination()
    {
        using var cpu = new CpuHarness();
        CpuState* s = cpu.State;
        for (int i = 0; i < 64; i++)
        {
            ulong flags = Spread(i);
            Flags.SetArithmetic(s, flags);
            Assert.Equal(flags, Flags.Arithmetic(s));
            for (int to = 0; to < 2; to++)
            {
                Flags.SetArithmetic(s, flags);
                Flags.SetCarry(s, to != 0);
                Assert.Equal(flags & ~Rflags.Cf | (to != 0 ? Rflags.Cf : 0), Flags.Arithmetic(s));
                Flags.SetArithmetic(s, flags);
                Flags.SetOverflow(s, to != 0);
                Assert.Equal(flags & ~Rflags.Of | (to != 0 ? Rflags.Of : 0), Flags.Arithmetic(s));
                Flags.SetArithmetic(s, flags);
                Flags.SetZero(s, to != 0);
                Assert.Equal(flags & ~Rflags.Zf | (to != 0 ? Rflags.Zf : 0), Flags.Arithmetic(s));
            }
        }
    }

    private static ulong Spread(int bits)
    {
        ulong[] places = [Rflags.Cf, Rflags.Pf, Rflags.Af, Rflags.Zf, Rflags.Sf, Rflags.Of];
        ulong flags = 0;
        for (int i = 0; i < 6; i++)
            if ((bits & (1 << i)) != 0)
                flags |= places[i];
        return flags;
    }

    /// <summary>Wide atomics run by several vCPUs on one word lose no update.</summary>
    [Fact]
    public void Locked_operations_are_atomic_between_vcpus()
    {
        const int Rounds = 20_000;
        // mov ecx,N; again: lock inc qword [rdi]; lock xadd [rdi+8],rax (rax=1 each time); lock bts… left to the text cases; dec ecx; jnz again
        byte[] code =
        [
            0xB9, .. BitConverter.GetBytes(Rounds),
            0xF0, 0x48, 0xFF, 0x07, // lock inc qword [rdi]
            0xB8, 1, 0, 0, 0, // mov eax,1
            0xF0, 0x48, 0x0F, 0xC1, 0x47, 0x08, // lock xadd [rdi+8],rax
            0xFF, 0xC9, // dec ecx
            0x75, 0xED, // jnz
        ];
        using var first = new CpuHarness();
        using var second = new CpuHarness(first);
        Parallel.Invoke(() => Loop(first), () => Loop(second));
        Assert.Equal(2ul * Rounds, *(ulong*)first.At(0x2000));
        Assert.Equal(2ul * Rounds, *(ulong*)first.At(0x2008));

        void Loop(CpuHarness cpu)
        {
            cpu.State->Gpr[7] = 0x2000;
            cpu.Run(code);
        }
    }

    [Theory]
    [InlineData(new byte[] { 0xF3, 0x0F, 0xB8, 0xC3 }, "popcnt")]
    [InlineData(new byte[] { 0x0F, 0x44, 0xC3 }, "cmov")]
    [InlineData(new byte[] { 0x0F, 0xC7, 0x0F }, "cx8")]
    [InlineData(new byte[] { 0x48, 0x0F, 0xC7, 0x0F }, "cx16")]
    [InlineData(new byte[] { 0x0F, 0x38, 0xF0, 0x07 }, "movbe")]
    [InlineData(new byte[] { 0x0F, 0xC7, 0xF0 }, "rdrand")]
    [InlineData(new byte[] { 0x0F, 0xC7, 0xF8 }, "rdseed")]
    [InlineData(new byte[] { 0x66, 0x0F, 0x38, 0xF6, 0xC3 }, "adx")]
    [InlineData(new byte[] { 0xF2, 0x0F, 0x38, 0xF0, 0xC3 }, "sse4_2")]
    [InlineData(new byte[] { 0xC4, 0xE2, 0x60, 0xF2, 0xC1 }, "bmi1")]
    [InlineData(new byte[] { 0xC4, 0xE2, 0x63, 0xF6, 0xC1 }, "bmi2")]
    [InlineData(new byte[] { 0x9F }, "lahf_lm")]
    public void An_absent_feature_is_undefined(byte[] code, string feature)
    {
        using var with = new CpuHarness();
        with.Run(code);
        Assert.Null(with.Fault);
        using var without = new CpuHarness(model: Model($"-{feature}"));
        without.Run(code);
        Assert.Equal(Vector.InvalidOpcode, without.Fault?.Vector);
    }

    private static CpuModel Model(string changes)
    {
        CpuModel? model = CpuModel.Parse($"max,{changes}", out string message);
        Assert.True(model != null, message);
        return model;
    }

    [Fact]
    public void Without_bmi1_and_lzcnt_the_counts_are_scans()
    {
        using var cpu = new CpuHarness(model: Model("-bmi1,-abm"));
        cpu.State->Gpr[3] = 0x0080_0000;
        cpu.Run([0xF3, 0x0F, 0xBD, 0xC3]); // lzcnt eax,ebx or bsr eax,ebx
        Assert.Equal(23ul, cpu.State->Gpr[0]);
    }

    [Fact]
    public void Vex_is_undefined_in_real_mode()
    {
        using var cpu = new CpuHarness(CodeSize.Bits16);
        cpu.State->Cr0 &= ~Cr0.Pe;
        cpu.Cpu.ModeChanged();
        cpu.Run([0xC4, 0xE2, 0x60, 0xF2, 0xC1]);
        Assert.Equal(Vector.InvalidOpcode, cpu.Fault?.Vector);
    }
}
