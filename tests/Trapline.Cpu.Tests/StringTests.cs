using Trapline.X86;

namespace Trapline.Cpu.Tests;

/// <summary>String instructions where a line of text does not reach: page crossings, faults and interrupts in the middle.</summary>
public sealed unsafe class StringTests : IDisposable
{
    private static readonly byte[] RepMovsb = [0xF3, 0xA4];
    private static readonly byte[] RepMovsq = [0xF3, 0x48, 0xA5];
    private static readonly byte[] RepStosd = [0xF3, 0xAB];
    private static readonly byte[] RepeCmpsb = [0xF3, 0xA6];

    private readonly CpuHarness _cpu = new();

    public void Dispose() => _cpu.Dispose();

    private void Pointers(ulong count, ulong source, ulong destination)
    {
        _cpu.State->Gpr[1] = count;
        _cpu.State->Gpr[6] = source;
        _cpu.State->Gpr[7] = destination;
    }

    [Theory]
    [InlineData(0x20000, 0x30000, 20_000)] // aligned alike
    [InlineData(0x20001, 0x30ABC, 20_000)] // both cross pages, at different places
    [InlineData(0x20000, 0x20001, 20_000)] // overlap: the first byte spreads
    [InlineData(0x20000, 0x20FFF, 20_000)]
    [InlineData(0x20FFF, 0x20000, 20_000)] // overlap the other way: a plain move
    public void Move_is_byte_by_byte(ulong source, ulong destination, int count)
    {
        var random = new Random(1);
        random.NextBytes(new Span<byte>(_cpu.At(0x1F000), 0x20000));
        byte[] expected = new Span<byte>(_cpu.At(0x1F000), 0x20000).ToArray();
        for (int i = 0; i < count; i++)
            expected[(int)destination - 0x1F000 + i] = expected[(int)source - 0x1F000 + i];
        Pointers((ulong)count, source, destination);
        _cpu.Run(RepMovsb);
        Assert.Null(_cpu.Fault);
        Assert.Equal((0ul, source + (ulong)count, destination + (ulong)count), (_cpu.State->Gpr[1], _cpu.State->Gpr[6], _cpu.State->Gpr[7]));
        Assert.True(new Span<byte>(_cpu.At(0x1F000), 0x20000).SequenceEqual(expected));
    }

    [Fact]
    public void Attention_pauses_a_repeat_after_one_element_and_it_resumes()
    {
        Pointers(1000, 0x20000, 0x30000);
        new Span<byte>(_cpu.At(0x20000), 8000).Fill(0x5A);
        _cpu.Cpu.Kick(); // stays set: nobody attends to it here
        Assert.Equal(3, _cpu.Run(RepMovsq, steps: 3));
        Assert.Equal(CpuHarness.CodeAddress, _cpu.State->Rip);
        Assert.Equal((997ul, 0x20018ul, 0x30018ul), (_cpu.State->Gpr[1], _cpu.State->Gpr[6], _cpu.State->Gpr[7]));
        _cpu.State->Attention = 0;
        _cpu.Run(RepMovsq);
        Assert.Equal(CpuHarness.CodeAddress + 3, _cpu.State->Rip);
        Assert.Equal(0ul, _cpu.State->Gpr[1]);
        Assert.True(new Span<byte>(_cpu.At(0x30000), 8000).SequenceEqual(new Span<byte>(_cpu.At(0x20000), 8000)));
    }

    [Fact]
    public void A_fault_in_the_middle_leaves_the_registers_at_the_element_that_faulted()
    {
        using var cpu = new CpuHarness(CodeSize.Bits32);
        CpuState* s = cpu.State;
        s->Es.Limit = 0x3_0FFF;
        cpu.Cpu.ModeChanged();
        s->Gpr[0] = 0x11223344;
        s->Gpr[1] = 0x1000;
        s->Gpr[7] = 0x3_0003;
        cpu.Run(RepStosd);
        Assert.Equal(Vector.GeneralProtection, cpu.Fault?.Vector);
        // 0x3FF elements fit; the next would end at 0x31002.
        Assert.Equal((0x1000ul - 0x3FF, 0x3_0FFFul), (s->Gpr[1], s->Gpr[7]));
        Assert.Equal(0x11223344u, *(uint*)cpu.At(0x3_0FFB));
        Assert.Equal(0, *cpu.At(0x3_0FFF));
        Assert.Equal(CpuHarness.CodeAddress, s->Rip);
    }

    [Fact]
    public void A_fault_in_a_repeated_comparison_restores_the_flags()
    {
        using var cpu = new CpuHarness(CodeSize.Bits32);
        CpuState* s = cpu.State;
        s->Ds.Limit = 0x2_0003;
        cpu.Cpu.ModeChanged();
        s->Gpr[1] = 100;
        s->Gpr[6] = 0x2_0000;
        s->Gpr[7] = 0x3_0000;
        Flags.SetArithmetic(s, Rflags.Of | Rflags.Cf);
        cpu.Run(RepeCmpsb);
        Assert.Equal(Vector.GeneralProtection, cpu.Fault?.Vector);
        Assert.Equal((96ul, 0x2_0004ul, 0x3_0004ul), (s->Gpr[1], s->Gpr[6], s->Gpr[7]));
        Assert.Equal(Rflags.Of | Rflags.Cf, Flags.Arithmetic(s));
    }

    [Fact]
    public void Segment_overrides_move_the_source_only()
    {
        _cpu.State->Fs.Base = 0x10000;
        _cpu.Cpu.ModeChanged();
        _cpu.State->Attention = 0;
        *_cpu.At(0x12000) = 0x77;
        Pointers(1, 0x2000, 0x3000);
        _cpu.Run([0x64, 0xF3, 0xA4]);
        Assert.Equal(0x77, *_cpu.At(0x3000));
    }

    [Fact]
    public void Storing_over_code_is_seen()
    {
        // rep stosb writes NOPs over the UD2 that follows it.
        byte[] code = [0xF3, 0xAA, 0x0F, 0x0B];
        _cpu.State->Gpr[0] = 0x90;
        Pointers(2, 0, CpuHarness.CodeAddress + 2);
        _cpu.Run(code);
        Assert.Null(_cpu.Fault);
        Assert.Equal(CpuHarness.CodeAddress + 4, _cpu.State->Rip);
    }
}
