using Trapline.Cpu;
using Trapline.Fuzz;

namespace Engines.Differential;

/// <summary>A fixed slice of the fuzzer: the interpreter against the host CPU, every register, flag and byte.</summary>
public class HostCpuTests
{
    [HostCpuTheory]
    [InlineData(1)]
    [InlineData(100_000)]
    [InlineData(200_000)]
    public void InterpreterAgreesWithTheHost(ulong seed)
    {
        FuzzReport report = CpuFuzzer.Run(seed, seconds: 0, maxCases: 60_000, filter: "", maxExamples: 5, perMnemonic: 1);
        Assert.True(report.Divergences.Count == 0, string.Join('\n', report.Examples));
        Assert.True(report.Cases >= 60_000);
    }

    [TranslatorTheory]
    [InlineData(3)]
    [InlineData(300_000)]
    public void TranslatorAgreesWithTheHost(ulong seed) => Compare(seed, bits: 0);

    [NarrowFact]
    public void TranslatorAgreesWithTheHostIn32BitCode() => Compare(400_000, bits: 32);

    private static void Compare(ulong seed, int bits)
    {
        FuzzReport report = CpuFuzzer.Run(seed, seconds: 0, maxCases: 60_000, filter: "", maxExamples: 5, perMnemonic: 1, translate: true, bits: bits);
        Assert.True(report.Divergences.Count == 0, string.Join('\n', report.Examples));
        Assert.True(report.Cases >= 60_000);
    }

    private sealed class HostCpuTheoryAttribute : TheoryAttribute
    {
        public HostCpuTheoryAttribute() => Skip = NativeOracle.Unavailable;
    }

    private sealed class NarrowFactAttribute : FactAttribute
    {
        public NarrowFactAttribute() => Skip = NativeOracle.Unavailable32 ?? SoftwareVcpu.TranslatorObstacle;
    }

    private sealed class TranslatorTheoryAttribute : TheoryAttribute
    {
        public TranslatorTheoryAttribute() => Skip = NativeOracle.Unavailable ?? SoftwareVcpu.TranslatorObstacle;
    }
}
