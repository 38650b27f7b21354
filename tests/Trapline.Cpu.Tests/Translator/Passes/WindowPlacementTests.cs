using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator.Passes;

/// <summary>Where a window's check goes when flags are live where the window begins.</summary>
public sealed class WindowPlacementTests
{
    /// <summary>The instruction that the check stands before; flags are live at the block's end.</summary>
    private static int PlaceOf(Action<Assembler> program)
    {
        GuestBlock block = Placed(program);
        return Array.FindIndex(block.Instructions, 0, block.Count, i => i.WindowBegins);
    }

    private static GuestBlock Placed(Action<Assembler> program)
    {
        GuestBlock block = HandWrittenBlock.Read(program);
        FlagLiveness.Run(block, CodeFacts.Arithmetic, _ => CodeFacts.Arithmetic);
        StackWindows.Run(block);
        WindowPlacement.Run(block);
        return block;
    }

    [Fact]
    public void Before_what_sets_the_flags() => Assert.Equal(2, PlaceOf(a => { a.mov(eax, __[rdi]); a.xor(eax, eax); a.cmp(edx, ecx); a.sbb(eax, 0); a.ret(); }));

    [Fact]
    public void Where_it_is_if_flags_are_live_all_along() => Assert.Equal(1, PlaceOf(a => { a.mov(eax, ecx); a.ret(); }));

    /// <summary>The window is where it was; the pointer it is relative to is not there yet.</summary>
    [Fact]
    public void Before_locals_are_given_up()
    {
        GuestBlock block = Placed(a => { a.mov(eax, ebx); a.add(rsp, 24); a.lea(rsp, __[rsp + 8]); a.pop(rbx); a.ret(); });
        ref readonly GuestInstruction add = ref block.Instructions[1];
        Assert.True(add.WindowBegins && add.FlagsDeadBefore);
        Assert.Equal((32, 48), (add.WindowLow, add.WindowHigh));
    }

    [Fact]
    public void Not_before_the_stack_pointer_moves() => Assert.Equal(2, PlaceOf(a => { a.cmp(eax, ecx); a.mov(rsp, rbp); a.ret(); }));

    [Fact]
    public void Not_before_a_jump() => Assert.Equal(2, PlaceOf(a => { Label on = a.CreateLabel(); a.cmp(eax, ecx); a.je(on); a.ret(); a.Label(ref on); a.nop(); }));
}
