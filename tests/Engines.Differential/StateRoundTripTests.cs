using Iced.Intel;
using Trapline.Cpu;
using Trapline.Testing;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;
using Assembler = Iced.Intel.Assembler;

namespace Engines.Differential;

/// <summary>One state for all engines: what goes in comes out, and either engine goes on from it in the same way.</summary>
public class StateRoundTripTests
{
    private const int States = 10_000;

    [Theory]
    [InlineData("max", 1)]
    [InlineData("max", 2)]
    [InlineData("epyc", 3)]
    public void TenThousandStatesPassFromInterpreterToInterpreterUnchanged(string model, int seed) => Pass(Model(model), seed, translate: false);

    /// <summary>Every model can be what it says it is: also one whose XSAVE image has no AVX.</summary>
    [Fact]
    public void EveryModelImportsWhatItExports()
    {
        foreach (string name in CpuModel.Names)
        {
            using StateBench bench = new(translate: false, Model(name));
            VcpuState state = bench.Cpu.Export();
            bench.Cpu.Import(state);
            Assert.Equal(StateBench.Text(state), StateBench.Text(bench.Cpu.Export()));
        }
    }

    [TranslatorTheory]
    [InlineData("max", 4)]
    [InlineData("epyc", 5)]
    public void TenThousandStatesPassBetweenInterpreterAndTranslatorUnchanged(string model, int seed) => Pass(Model(model), seed, translate: true);

    [TranslatorTheory]
    [InlineData("max", 6)]
    public void BothEnginesGoOnInTheSameWay(string name, int seed)
    {
        CpuModel model = Model(name);
        using StateBench interpreter = new(translate: false, model), translator = new(translate: true, model);
        byte[] program = Program();
        interpreter.Memory.TryWrite(new(StateBench.Code), program);
        translator.Memory.TryWrite(new(StateBench.Code), program);
        RandomVcpuState random = new(seed, model);
        for (int i = 0; i < States; i++)
        {
            VcpuState start = StateBench.AtCode(random.Next(), model);
            interpreter.Cpu.Import(start);
            translator.Cpu.Import(start);
            Assert.Equal(interpreter.Cpu.Run(), translator.Cpu.Run());
            string middle = StateBench.Text(interpreter.Cpu.Export());
            Assert.Equal(middle, StateBench.Text(translator.Cpu.Export()));
            // Across: each goes on from where the other came to.
            VcpuState here = interpreter.Cpu.Export() with { Rip = StateBench.Code, Activity = VcpuActivity.Running }, there = translator.Cpu.Export() with { Rip = StateBench.Code, Activity = VcpuActivity.Running };
            interpreter.Cpu.Import(there);
            translator.Cpu.Import(here);
            Assert.Equal(interpreter.Cpu.Run(), translator.Cpu.Run());
            Assert.Equal(StateBench.Text(interpreter.Cpu.Export()), StateBench.Text(translator.Cpu.Export()));
        }
        Assert.True(translator.Translations > 0);
    }

    private static void Pass(CpuModel model, int seed, bool translate)
    {
        using StateBench first = new(translate: false, model), second = new(translate, model);
        RandomVcpuState random = new(seed, model);
        for (int i = 0; i < States; i++)
        {
            VcpuState state = random.Next();
            first.Cpu.Import(state);
            VcpuState exported = first.Cpu.Export();
            Assert.Equal(StateBench.Text(state), StateBench.Text(exported));
            second.Cpu.Import(exported);
            Assert.Equal(StateBench.Text(state), StateBench.Text(second.Cpu.Export()));
            first.Cpu.Import(second.Cpu.Export());
            Assert.Equal(StateBench.Text(state), StateBench.Text(first.Cpu.Export()));
        }
    }

    private static CpuModel Model(string name)
    {
        CpuModel? model = name == "max" ? CpuModel.Max : CpuModel.Create(name, [], out _);
        Assert.NotNull(model);
        return model;
    }

    /// <summary>A loop that is warm enough to be translated: integers, flags, memory, stack, vectors, x87.</summary>
    private static byte[] Program()
    {
        Assembler a = new(64);
        Label again = a.CreateLabel();
        a.mov(ecx, 40);
        a.Label(ref again);
        a.adc(rax, rbx);
        a.mov(__[rsi], rax);
        a.imul(rbx, __[rsi], 77);
        a.push(rdx);
        a.rol(__qword_ptr[rsp], 7);
        a.pop(rdx);
        a.sbb(r8, r15);
        a.vpaddq(ymm1, ymm2, ymm3);
        a.pxor(xmm5, xmm1);
        a.movdqu(__xmmword_ptr[rdi], xmm5);
        a.xor(r9, __[rdi]);
        a.fldz();
        a.fld1();
        a.faddp(st1, st0);
        a.fstp(__qword_ptr[rdi + 16]);
        a.ror(r10, 3);
        a.lea(r11, __[r10 + r9 * 2 + 5]);
        a.dec(ecx);
        a.jnz(again);
        a.@out(0xF4, al);
        using MemoryStream stream = new();
        a.Assemble(new StreamCodeWriter(stream), StateBench.Code);
        return stream.ToArray();
    }

    private sealed class TranslatorTheoryAttribute : TheoryAttribute
    {
        public TranslatorTheoryAttribute() => Skip = SoftwareVcpu.TranslatorObstacle;
    }
}
