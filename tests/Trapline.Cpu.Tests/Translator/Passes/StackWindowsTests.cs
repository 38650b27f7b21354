using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator.Passes;

/// <summary>Where windows begin, what range they check, and which accesses they cover.</summary>
public sealed class StackWindowsTests
{
    /// <summary>For each instruction: a window that begins there as "low..high" with "w" if written to, "+" if it is in one, "" if neither.</summary>
    private static string[] Windows(Action<Assembler> program)
    {
        GuestBlock block = HandWrittenBlock.Read(program);
        StackWindows.Run(block);
        return [.. block.Instructions.Take(block.Count).Select(i =>
            i.WindowBegins ? $"{i.WindowLow}..{i.WindowHigh}{(i.WindowWrites ? "w" : "")}" : i.InWindow ? "+" : "")];
    }

    [Fact]
    public void A_function_is_one_window() =>
        Assert.Equal(["-40..8w", "", "", "+", "+", "", "+", "+"], Windows(a =>
        {
            a.push(rbp); // -8..0
            a.mov(rbp, rsp);
            a.sub(rsp, 0x20);
            a.mov(__qword_ptr[rsp], rdi); // -40..-32
            a.mov(rax, __qword_ptr[rsp + 8]);
            a.add(rsp, 0x20);
            a.pop(rbp);
            a.ret(); // 0..8
        }));

    [Fact]
    public void Reading_alone_asks_for_no_writable_page() => Assert.Equal(["0..16", "+"], Windows(a => { a.pop(rax); a.ret(); }));

    [Fact]
    public void A_call_pushes() => Assert.Equal(["-16..0w", "+"], Windows(a => { a.push(rax); a.call(HandWrittenBlock.At); }));

    /// <summary>What moves RSP by an unknown amount ends the window; the next access begins another, counted from there.</summary>
    [Theory]
    [InlineData("mov")]
    [InlineData("and")]
    [InlineData("pop")]
    [InlineData("leave")]
    [InlineData("add")]
    [InlineData("lea")]
    [InlineData("selector")]
    [InlineData("xchg")]
    [InlineData("bswap")]
    [InlineData("constant")]
    public void An_unknown_stack_pointer_ends_the_window(string way)
    {
        string[] windows = Windows(a =>
        {
            a.push(rax);
            switch (way)
            {
                case "mov": a.mov(rsp, rbx); break;
                case "and": a.and(rsp, -16); break;
                case "pop": a.pop(rsp); break;
                case "leave": a.leave(); break;
                case "add": a.add(rsp, rax); break;
                case "selector": a.mov(esp, ds); break;
                case "xchg": a.xchg(rax, rsp); break;
                case "bswap": a.bswap(rsp); break;
                case "constant": a.mov(esp, 0x1000); break;
                default: a.lea(rsp, __[rsp + rax]); break;
            }
            a.push(rbx);
            a.ret();
        });
        Assert.Equal(["-8..0w", way == "pop" ? "+" : "", "-8..0w", "+"], windows);
    }

    /// <summary>The one-byte INC and DEC of 32-bit code are treated by themselves.</summary>
    [Fact]
    public void A_stack_pointer_that_is_counted_ends_the_window()
    {
        GuestBlock block = HandWrittenBlock.Read([0x50, 0x44, 0x53, 0xC3], code32: true); // PUSH EAX; INC ESP; PUSH EBX; RET
        StackWindows.Run(block);
        Assert.Equal(Treatment.StepRegister, block.Instructions[1].Treatment);
        Assert.Equal([true, false, true, false], block.Instructions.Take(4).Select(i => i.WindowBegins));
    }

    [Fact]
    public void LEA_by_a_constant_is_followed() =>
        Assert.Equal(["-24..0w", "", "+"], Windows(a => { a.push(rax); a.lea(rsp, __[rsp - 8]); a.push(rbx); a.@int3(); }).Take(3));

    /// <summary>An access too far away is checked by itself, and the window goes on without it.</summary>
    [Fact]
    public void A_far_access_stays_outside() =>
        Assert.Equal(["-8..8w", "", "+"], Windows(a => { a.push(rax); a.mov(rbx, __qword_ptr[rsp + 0x2000]); a.mov(rbx, __qword_ptr[rsp + 8]); a.@int3(); }).Take(3));

    /// <summary>Accesses through other registers, an index or a segment are no stack accesses.</summary>
    [Fact]
    public void Only_plain_accesses_through_RSP_count() =>
        Assert.Equal(["", "", "", "0..4"], Windows(a =>
        {
            a.mov(rax, __qword_ptr[rbp + 8]);
            a.mov(rax, __qword_ptr[rsp + rbx]);
            a.mov(rbx, __qword_ptr.gs[rsp]);
            a.mov(eax, __dword_ptr[rsp]);
            a.@int3();
        }).Take(4));
}
