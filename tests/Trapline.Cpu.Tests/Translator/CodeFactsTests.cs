using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Facts are kept by instruction code: they must not depend on the operands of the instruction that was met first.</summary>
public sealed class CodeFactsTests
{
    /// <summary>XOR r8d, r8d reads nothing; XOR of other registers does.</summary>
    [Theory]
    [InlineData("4533C0")]
    [InlineData("4533C4")]
    [InlineData("452BC0")]
    public void AnIdiomDoesNotSpeakForItsCode(string bytes)
    {
        CodeFacts facts = CodeFacts.Of(Decode(bytes));
        Assert.Equal(OpAccess.ReadWrite, facts.RegAccess);
        Assert.Equal(OpAccess.Read, facts.RmAccess);
    }

    /// <summary>RCL by 0 reads no flag; by any other count it reads CF. The code of the first is that of the second.</summary>
    [Theory]
    [InlineData("C1D000")]
    [InlineData("C1D003")]
    [InlineData("48C1D800")]
    public void ARotationThroughCarryReadsIt(string bytes) => Assert.Equal(RflagsBits.CF, CodeFacts.Of(Decode(bytes)).FlagsRead);

    private static Instruction Decode(string bytes) => Decoder.Create(64, Convert.FromHexString(bytes)).Decode();
}
