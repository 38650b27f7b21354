using Trapline.Cpu;
using Trapline.Fuzz;

namespace Engines.Differential;

/// <summary>A fixed slice of the stress fuzzer: interpreter against translator, programs of several instructions.</summary>
public class LockstepTests
{
    [TranslatorTheory]
    [InlineData(1, 0)]
    [InlineData(50_000_000, 0)]
    [InlineData(60_000_000, 32)]
    public void TranslatorAgreesWithTheInterpreter(ulong seed, int bits)
    {
        FuzzReport report = SequenceFuzzer.Run(seed, seconds: 0, maxCases: 30_000, maxExamples: 5, bits: bits);
        Assert.True(report.Divergences.Count == 0, string.Join('\n', report.Examples));
        Assert.Equal(30_000, report.Cases);
    }

    /// <summary>x87 and MMX among plain moves: registers, tags, and the pointers to the last instruction and operand.</summary>
    [TranslatorTheory]
    [InlineData(7)]
    public void X87StateIsTheSameWhereverTranslatedCodeIsLeft(ulong seed)
    {
        FuzzReport report = SequenceFuzzer.Run(seed, seconds: 0, maxCases: 15_000, maxExamples: 5, filter: "f*,p*,movq,emms,mov,add,cmp");
        Assert.True(report.Divergences.Count == 0, string.Join('\n', report.Examples));
        Assert.Equal(15_000, report.Cases);
    }

    private sealed class TranslatorTheoryAttribute : TheoryAttribute
    {
        public TranslatorTheoryAttribute() => Skip = SoftwareVcpu.TranslatorObstacle;
    }
}
