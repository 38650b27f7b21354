using Iced.Intel;
using Trapline.Cpu.Translator.Verify;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>What the architecture leaves undefined is not compared.</summary>
public class UndefinedStateTests
{
    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, true)]
    [InlineData(9, true)]
    [InlineData(27, true)]
    [InlineData(32 + 27, true)]
    [InlineData(64, false)]
    public void Overflow_is_undefined_after_a_rotate_through_carry_by_more_than_one(byte count, bool undefined)
    {
        Assembler assembler = new(64);
        assembler.add(eax, ebx);
        assembler.rcl(r9b, count);
        assembler.setg(al);
        UndefinedState state = default;
        foreach (Instruction instruction in assembler.Instructions)
            state.Add(instruction);
        Assert.Equal(undefined, state.Tainted);
    }
}
