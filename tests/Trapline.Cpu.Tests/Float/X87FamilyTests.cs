using Trapline.X86;

namespace Trapline.Cpu.Tests.Float;

/// <summary>
/// What the differential fuzzer cannot see from user mode: device-not-available rules, deferred exceptions, FERR#, and the four
/// environment formats. (Arithmetic, stack faults and condition codes are compared with the host there.)
/// </summary>
public sealed unsafe class X87FamilyTests
{
    private const ulong Data = 0x2000;

    private static byte? Vector(CpuHarness cpu) => cpu.Fault?.Vector;

    private static int Run(CpuHarness cpu, string hex) => cpu.Run(System.Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal)));

    [Theory]
    [InlineData("D9 E8", Cr0.Ts, X86.Vector.DeviceNotAvailable)] // fld1
    [InlineData("D9 E8", Cr0.Em, X86.Vector.DeviceNotAvailable)]
    [InlineData("DB E3", Cr0.Em, X86.Vector.DeviceNotAvailable)] // fninit does not wait, but needs the unit
    [InlineData("DF E0", Cr0.Ts, X86.Vector.DeviceNotAvailable)] // fnstsw ax
    [InlineData("9B", Cr0.Ts | Cr0.Mp, X86.Vector.DeviceNotAvailable)]
    [InlineData("9B", Cr0.Ts, null)]
    [InlineData("9B", Cr0.Em, null)]
    [InlineData("9B", Cr0.Mp, null)]
    public void Device_not_available(string code, ulong cr0, byte? vector)
    {
        using CpuHarness cpu = new();
        cpu.State->Cr0 |= cr0;
        Run(cpu, code);
        Assert.Equal(vector, Vector(cpu));
    }

    /// <summary>fldz; fld1; fdiv st,st(1) raises ZE; the next waiting instruction delivers it.</summary>
    private const string DivideByZero = "D9 EE D9 E8 D8 F1";

    [Theory]
    [InlineData("D9 E8")] // fld1
    [InlineData("9B")] // fwait
    [InlineData("D9 D0")] // fnop
    [InlineData("DD C0")] // ffree
    [InlineData("D9 2C 25 00 20 00 00")] // fldcw
    [InlineData("0F 2C C0")] // cvttps2pi mm0, xmm0
    public void A_pending_exception_is_delivered_by_the_next_waiting_instruction(string next)
    {
        using CpuHarness cpu = new();
        cpu.State->Fcw = 0x37B;
        Assert.Equal(3, Run(cpu, DivideByZero));
        Assert.Equal(0x8084, cpu.State->Fsw & 0x80FF);
        Run(cpu, next);
        Assert.Equal(X86.Vector.X87Error, Vector(cpu));
    }

    [Theory]
    [InlineData("DF E0")] // fnstsw ax
    [InlineData("D9 3C 25 00 20 00 00")] // fnstcw
    [InlineData("D9 34 25 00 20 00 00")] // fnstenv
    [InlineData("DD 34 25 00 20 00 00")] // fnsave
    [InlineData("DB E2")] // fnclex
    [InlineData("DB E3")] // fninit
    public void Instructions_without_wait_let_an_exception_pend(string next)
    {
        using CpuHarness cpu = new();
        cpu.State->Fcw = 0x37B;
        Run(cpu, DivideByZero);
        Run(cpu, next);
        Assert.Null(cpu.Fault);
    }

    [Fact]
    public void Without_numeric_error_bit_FERR_is_raised_instead()
    {
        using CpuHarness cpu = new();
        int raised = 0;
        cpu.Cpu.FloatingPointError = () => raised++;
        cpu.State->Cr0 &= ~Cr0.Ne;
        cpu.State->Fcw = 0x37B;
        Run(cpu, DivideByZero);
        Assert.Equal(0, raised);
        Run(cpu, "9B");
        Assert.Null(cpu.Fault);
        Assert.Equal(1, raised);
    }

    [Fact]
    public void Unmasking_a_set_flag_makes_it_pending()
    {
        using CpuHarness cpu = new();
        *(ushort*)cpu.At(Data) = 0x37B;
        Assert.Equal(4, Run(cpu, DivideByZero + " D9 2C 25 00 20 00 00")); // masked so far; fldcw
        Assert.Equal(0x8084, cpu.State->Fsw & 0x80FF);
        Run(cpu, "D9 D0");
        Assert.Equal(X86.Vector.X87Error, Vector(cpu));
    }

    /// <summary>fld qword ptr [2000h]; fld1, then the environment: pointers of the load with its opcode, of the constant after it.</summary>
    [Fact]
    public void Environment_in_32_bit_protected_format()
    {
        using CpuHarness cpu = new();
        cpu.State->Cs.Selector = 0x33;
        cpu.State->Ds.Selector = 0x2B;
        Run(cpu, "DD 04 25 00 20 00 00 D9 34 25 00 30 00 00"); // fld qword [2000]; fnstenv [3000]
        uint* image = (uint*)cpu.At(0x3000);
        Assert.Equal([0xFFFF037Fu, 0xFFFF3800u, 0xFFFF7FFFu, 0x8000u, 0x05040033u, 0x2000u, 0xFFFF002Bu], new Span<uint>(image, 7).ToArray());
        Assert.Equal(0x37F, cpu.State->Fcw);
    }

    [Fact]
    public void Environment_in_16_bit_protected_format()
    {
        using CpuHarness cpu = new();
        cpu.State->Cs.Selector = 0x33;
        cpu.State->Ds.Selector = 0x2B;
        Run(cpu, "DD 04 25 00 20 00 00 66 D9 34 25 00 30 00 00");
        Assert.Equal([0x37F, 0x3800, 0x7FFF, 0x8000, 0x33, 0x2000, 0x2B], new Span<ushort>((ushort*)cpu.At(0x3000), 7).ToArray());
    }

    private static CpuHarness RealMode()
    {
        CpuHarness cpu = new(CodeSize.Bits16);
        cpu.State->Cr0 &= ~Cr0.Pe;
        cpu.State->Ds.Selector = 0x1000;
        cpu.State->Ds.Base = 0x10000;
        cpu.Cpu.ModeChanged();
        return cpu;
    }

    [Fact]
    public void Environment_in_16_bit_real_format()
    {
        using CpuHarness cpu = RealMode();
        Run(cpu, "DD 06 00 20 D9 36 00 30"); // fld qword [2000]; fnstenv [3000]
        // Pointers are linear: 0x8000 and 0x12000, with the opcode beside the first.
        Assert.Equal([0x37F, 0x3800, 0x7FFF, 0x8000, 0x0506, 0x2000, 0x1000], new Span<ushort>((ushort*)cpu.At(0x13000), 7).ToArray());
    }

    [Fact]
    public void Environment_in_32_bit_real_format()
    {
        using CpuHarness cpu = RealMode();
        Run(cpu, "DD 06 00 20 66 D9 36 00 30");
        Assert.Equal([0xFFFF037Fu, 0xFFFF3800u, 0xFFFF7FFFu, 0xFFFF8000u, 0x0506u, 0xFFFF2000u, 0x1000u],
            new Span<uint>((uint*)cpu.At(0x13000), 7).ToArray());
    }

    [Theory]
    [InlineData("", CodeSize.Bits64)]
    [InlineData("66 ", CodeSize.Bits64)]
    [InlineData("", CodeSize.Bits16)]
    [InlineData("66 ", CodeSize.Bits16)]
    public void Save_and_restore_round_trip_across_a_page(string prefix, CodeSize size)
    {
        using CpuHarness cpu = size == CodeSize.Bits16 ? RealMode() : new CpuHarness(size);
        string at = size == CodeSize.Bits16 ? "36 D0 2F" : "34 25 D0 2F 00 00"; // [2FD0]
        string from = size == CodeSize.Bits16 ? "26 D0 2F" : "24 25 D0 2F 00 00";
        Run(cpu, "D9 EB D9 E8 D9 EE D9 EA DD C1"); // fldpi; fld1; fldz; fldl2e; ffree st(1)
        CpuState before = *cpu.State;
        Run(cpu, $"{prefix}DD {at}");
        Assert.Null(cpu.Fault);
        Assert.Equal(0, cpu.State->FpuTags);
        Assert.Equal(0x37F, cpu.State->Fcw);
        Assert.Equal(0, cpu.State->FpuTop);
        new Span<ulong>(cpu.State->Fpr, 16).Clear();
        Run(cpu, $"{prefix}DD {from}");
        Assert.Null(cpu.Fault);
        Assert.Equal(before.FpuTags, cpu.State->FpuTags);
        Assert.Equal(before.FpuTop, cpu.State->FpuTop);
        Assert.Equal(new Span<ulong>(before.Fpr, 16).ToArray(), new Span<ulong>(cpu.State->Fpr, 16).ToArray());
    }

    [Fact]
    public void A_wild_store_leaves_the_stack_alone()
    {
        using CpuHarness cpu = new(CodeSize.Bits32);
        cpu.State->Ds.Limit = 0x1FFF;
        SoftwareVcpu.SegmentLoaded(&cpu.State->Ds);
        cpu.Cpu.ModeChanged();
        Run(cpu, "D9 E8 D9 1D FE 1F 00 00"); // fld1; fstp dword ptr [1FFE]
        Assert.Equal(X86.Vector.GeneralProtection, Vector(cpu));
        Assert.Equal(7, cpu.State->FpuTop);
        Assert.Equal(0x80, cpu.State->FpuTags);
    }
}
