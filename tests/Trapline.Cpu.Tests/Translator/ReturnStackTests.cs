using Iced.Intel;
using Trapline.Cpu.Translator.Runtime;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Guest calls and returns that the private return stack cannot follow: right all the same.</summary>
public sealed unsafe class ReturnStackTests
{
    private const ulong Far = 0x9000, DeepStack = 0x1F_0000;

    /// <summary>Several times what the return stack holds.</summary>
    private const int Deep = (int)(LowLayout.ShadowSize / 8) * 5 / 2;

    /// <summary>Near, to another page and back, and through a register, with flags live and dead at the call.</summary>
    [TranslatorTheory]
    [InlineData("near")]
    [InlineData("far")]
    [InlineData("indirect")]
    public void Recursion_may_be_deeper_than_the_return_stack(string way)
    {
        using TranslatedGuest guest = new();
        const ulong Function = TranslatedGuest.Code + 0x100;
        guest.Load(a =>
        {
            a.mov(rsp, DeepStack);
            a.mov(esi, (uint)Function);
            a.call(Function);
            TranslatedGuest.End(a);
        });
        guest.Load(a =>
        {
            Label done = a.CreateLabel();
            a.sub(rdi, 1);
            a.jz(done);
            if (way == "near")
                a.call(Function);
            else if (way == "far")
                a.call(Far);
            else
                a.call(rsi);
            a.Label(ref done);
            a.inc(rbx);
            a.ret();
        }, Function);
        guest.Load(a => { a.nop(); a.jmp(Function); }, Far);
        for (int run = 1; run <= 3; run++)
        {
            guest.State->Gpr[7] = Deep;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal((ulong)(run * Deep), guest.State->Gpr[3]);
            Assert.Equal(DeepStack, guest.State->Gpr[4]);
        }
        Assert.NotEqual(0, guest.Cpu.Translator!.Counters.Translated);
    }

    /// <summary>PUSH and RET as a jump, between calls that are returned from properly.</summary>
    [TranslatorFact]
    public void A_return_may_be_a_jump()
    {
        using TranslatedGuest guest = new();
        const ulong Function = TranslatedGuest.Code + 0x100, Other = TranslatedGuest.Code + 0x200;
        guest.Load(a =>
        {
            a.call(Function);
            a.inc(rbx);
            a.call(Function);
            a.add(rbx, 16);
            TranslatedGuest.End(a);
        });
        guest.Load(a =>
        {
            a.mov(edx, (uint)Other);
            a.push(rdx);
            a.ret(); // to Other, and from there to the caller
        }, Function);
        guest.Load(a => { a.add(rbx, 256); a.ret(); }, Other);
        for (ulong run = 1; run <= 100; run++)
        {
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(run * (1 + 16 + 512), guest.State->Gpr[3]);
            Assert.Equal(TranslatedGuest.Stack, guest.State->Gpr[4]);
        }
    }

    /// <summary>A callee returns elsewhere than it was called from, to one of two places.</summary>
    [TranslatorFact]
    public void A_return_address_may_be_overwritten()
    {
        using TranslatedGuest guest = new();
        const ulong Function = TranslatedGuest.Code + 0x100, Elsewhere = TranslatedGuest.Code + 0x200;
        guest.Load(a =>
        {
            a.call(Function);
            a.inc(rbx);
            TranslatedGuest.End(a);
        });
        guest.Load(a =>
        {
            Label honest = a.CreateLabel();
            a.test(edi, edi);
            a.jz(honest);
            a.mov(__qword_ptr[rsp], (int)Elsewhere);
            a.Label(ref honest);
            a.ret();
        }, Function);
        guest.Load(a => { a.add(rbx, 256); TranslatedGuest.End(a); }, Elsewhere);
        ulong expected = 0;
        for (int i = 0; i < 200; i++)
        {
            bool astray = i % 3 == 0;
            guest.State->Gpr[7] = astray ? 1u : 0;
            expected += astray ? 256u : 1;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(expected, guest.State->Gpr[3]);
        }
    }

    /// <summary>longjmp: frames are left without returning from them; the callers' returns follow.</summary>
    [TranslatorFact]
    public void Frames_may_be_left_without_returning()
    {
        using TranslatedGuest guest = new();
        const ulong Outer = TranslatedGuest.Code + 0x100, Inner = TranslatedGuest.Code + 0x200;
        guest.Load(a =>
        {
            Label again = a.CreateLabel();
            a.mov(esi, 50);
            a.Label(ref again);
            a.call(Outer);
            a.inc(rbx);
            a.dec(esi);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        guest.Load(a =>
        {
            Label landing = a.CreateLabel();
            a.mov(rbp, rsp); // setjmp
            a.lea(rdx, __[landing]);
            a.mov(edi, 9);
            a.call(Inner);
            a.add(rbx, 0x10000); // never
            a.Label(ref landing);
            a.add(rbx, 256);
            a.ret();
        }, Outer);
        guest.Load(a =>
        {
            Label deeper = a.CreateLabel();
            a.dec(edi);
            a.jnz(deeper);
            a.mov(rsp, rbp); // longjmp
            a.jmp(rdx);
            a.Label(ref deeper);
            a.call(Inner);
            a.add(rbx, 0x10000); // never
            a.ret();
        }, Inner);
        for (ulong run = 1; run <= 4; run++)
        {
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(run * 50 * 257, guest.State->Gpr[3]);
            Assert.Equal(TranslatedGuest.Stack, guest.State->Gpr[4]);
        }
    }

    /// <summary>Two stacks that take turns, as threads of a guest do.</summary>
    [TranslatorFact]
    public void Stacks_may_be_switched()
    {
        using TranslatedGuest guest = new();
        const ulong Switch = TranslatedGuest.Code + 0x100, Second = TranslatedGuest.Code + 0x200, SecondStack = 0x1A000;
        guest.Load(a =>
        {
            Label again = a.CreateLabel();
            a.mov(edi, (uint)SecondStack - 8);
            a.mov(__qword_ptr[SecondStack - 8], (int)Second);
            a.mov(esi, 100);
            a.Label(ref again);
            a.call(Switch);
            a.inc(rbx);
            a.dec(esi);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        guest.Load(a => { a.xchg(rsp, rdi); a.ret(); }, Switch);
        guest.Load(a =>
        {
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.add(rbx, 256);
            a.call(Switch);
            a.jmp(again);
        }, Second);
        for (ulong run = 1; run <= 4; run++)
        {
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(run * 100 * 257, guest.State->Gpr[3]);
        }
    }
}
