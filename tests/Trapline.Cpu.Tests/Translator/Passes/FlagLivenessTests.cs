using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator.Passes;

/// <summary>Which arithmetic flags are live before and after instructions.</summary>
public sealed class FlagLivenessTests
{
    private const RflagsBits All = CodeFacts.Arithmetic;

    private static RflagsBits[] Before(Action<Assembler> program, RflagsBits atEnd = All, RflagsBits atTarget = All)
    {
        GuestBlock block = HandWrittenBlock.Read(program);
        FlagLiveness.Run(block, atEnd, _ => atTarget);
        return [.. block.Instructions.Take(block.Count).Select(i => i.LiveBefore)];
    }

    /// <summary>ADD writes all six: nothing before it matters.</summary>
    [Fact]
    public void An_instruction_that_writes_every_flag_kills_them() =>
        Assert.Equal([0, 0, All], Before(a => { a.mov(rax, __[rdi]); a.add(rax, rbx); a.@int3(); }));

    /// <summary>INC leaves CF alone, and ADC reads it.</summary>
    [Fact]
    public void A_flag_that_is_left_alone_stays_live() =>
        Assert.Equal([0, RflagsBits.CF, RflagsBits.CF, All],
            Before(a => { a.add(rax, rbx); a.inc(rdx); a.adc(rsi, 0); a.@int3(); }));

    [Fact]
    public void A_condition_reads_only_its_own_flags() =>
        Assert.Equal([RflagsBits.ZF, 0, All], Before(a => { a.cmove(rax, rbx); a.xor(edx, edx); a.@int3(); }));

    /// <summary>Both ways out of a conditional jump count, and what it reads itself.</summary>
    [Fact]
    public void A_side_exit_adds_what_its_target_reads()
    {
        GuestBlock block = HandWrittenBlock.Read(a => { a.nop(); a.js(HandWrittenBlock.At + 0x40); a.xor(eax, eax); a.@int3(); });
        FlagLiveness.Run(block, All, _ => RflagsBits.CF);
        Assert.Equal(RflagsBits.CF | RflagsBits.SF, block.Instructions[0].LiveBefore);
        Assert.Equal(RflagsBits.CF, block.Instructions[1].LiveAfter);
    }

    /// <summary>A shift by CL may be by zero; by a constant it is by that constant, taken modulo the operand's size.</summary>
    [Theory]
    [InlineData(3, false, true)]
    [InlineData(32, false, false)]
    [InlineData(32, true, true)]
    [InlineData(64, true, false)]
    public void A_shift_kills_flags_only_if_it_surely_shifts(int count, bool wide, bool kills)
    {
        RflagsBits before = Before(a =>
        {
            if (wide)
                a.shl(rax, (byte)count);
            else
                a.shl(eax, (byte)count);
            a.@int3();
        })[0];
        Assert.Equal(kills ? 0 : All, before);
    }

    [Fact]
    public void A_shift_by_CL_kills_nothing() => Assert.Equal(All, Before(a => { a.shr(rax, cl); a.@int3(); })[0]);

    /// <summary>A jump's target decides; where it returns to or goes from a register is unknown.</summary>
    [Fact]
    public void The_end_of_the_block_decides()
    {
        Assert.Equal(RflagsBits.OF, Before(a => a.jmp(HandWrittenBlock.At + 0x40), atTarget: RflagsBits.OF)[0]);
        Assert.Equal((RflagsBits)0, Before(a => a.call(HandWrittenBlock.At + 0x40), atTarget: 0)[0]);
        Assert.Equal(All, Before(a => a.jmp(rax), atEnd: 0, atTarget: 0)[0]);
        Assert.Equal(All, Before(a => a.ret(), atEnd: 0, atTarget: 0)[0]);
        Assert.Equal(All, Before(a => a.@int3(), atEnd: 0)[0]);
    }

    [Fact]
    public void Pushing_the_flags_reads_them_all() =>
        Assert.Equal([All, 0, All], Before(a => { a.pushfq(); a.and(eax, 1); a.@int3(); }));

    [Fact]
    public void For_oracles_every_flag_is_kept()
    {
        GuestBlock block = HandWrittenBlock.Read(a => { a.add(rax, rbx); a.xor(eax, eax); a.@int3(); });
        FlagLiveness.Run(block, 0, _ => 0);
        FlagLiveness.KeepAll(block);
        Assert.All(block.Instructions.Take(block.Count), i => Assert.Equal((All, All), (i.LiveBefore, i.LiveAfter)));
    }
}
