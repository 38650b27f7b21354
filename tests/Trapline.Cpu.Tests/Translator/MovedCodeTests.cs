using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Code that runs at one address and then, from the same memory, at another: its translation is copied, and does there what it should.</summary>
public sealed unsafe class MovedCodeTests
{
    private const ulong First = 0x1_4000_0000, Second = 0x1_8000_0000 + 0x7000, Frame = 0x60000, OtherFrame = 0x61000;

    /// <summary>Everything that depends on where it lies: constants, data, calls and jumps near and far, return addresses, floating-point pointers.</summary>
    private static void Program(Assembler a)
    {
        Label again = a.CreateLabel(), near = a.CreateLabel(), data = a.CreateLabel(), indirect = a.CreateLabel(), past = a.CreateLabel();
        a.mov(ecx, 20);
        a.Label(ref again);
        a.lea(rax, __[data]);
        a.lea(r9, __[data]);
        a.add(rsi, __qword_ptr[data]);
        a.cmp(rsi, rdi);
        a.movzx(edx, __byte_ptr[data]);
        a.adc(rbx, 0);
        a.mov(r8d, 5);
        a.bt(__dword_ptr[data], r8d);
        a.adc(rbx, rbx);
        a.fld(__qword_ptr[data]);
        a.fstp(st0);
        a.fnstenv(__[rsp - 64]);
        a.call(near);
        a.lea(r10, __[indirect]);
        a.call(r10);
        a.jmp(past);
        a.Label(ref near);
        a.add(r12, __qword_ptr[rsp]); // the return address
        a.ret();
        a.Label(ref indirect);
        a.push(__qword_ptr[data]);
        a.pop(r13);
        a.ret();
        a.Label(ref past);
        a.imul(rdi, rdi, 3);
        a.dec(ecx);
        a.jnz(again);
        a.lea(rax, __[data]);
        a.add(rax, 0x1000 - 0x100 + 0x20);
        a.call(rax); // into the next page
        TranslatedGuest.End(a);
        a.nop();
        while (a.Instructions.Count < 60)
            a.nop();
        a.Label(ref data);
        a.dq(0x4009_21FB_5444_2D18);
    }

    private static TranslatedGuest Guest(bool translate)
    {
        TranslatedGuest guest = new(translate);
        byte[] code = TranslatedGuest.Assemble(Program, First);
        Array.Resize(ref code, 0x200);
        guest.Load(code, Frame);
        int data = code.AsSpan().IndexOf(BitConverter.GetBytes(0x4009_21FB_5444_2D18));
        // What the far call reaches: a load relative to RIP back into the first page, a jump there, and the return.
        ulong far = First + (ulong)data + 0x1000 - 0x100 + 0x20;
        byte[] other = TranslatedGuest.Assemble(a =>
        {
            Label home = a.CreateLabel();
            a.mov(r14, __qword_ptr[home]);
            a.lea(r15, __[home]);
            a.ret();
            a.Label(ref home);
            a.dq(0x1122_3344_5566_7788);
        }, far);
        guest.Load(other, (far & 0xFFF) + ((far >> 12) == (First >> 12) ? Frame : OtherFrame));
        foreach (ulong at in (ReadOnlySpan<ulong>)[First, Second])
        {
            guest.Map(at, Frame);
            guest.Map(at + 0x1000, OtherFrame);
        }
        return guest;
    }

    private static ulong[] Result(TranslatedGuest guest, ulong at)
    {
        CpuState* s = guest.State;
        for (int i = 0; i < 16; i++)
            s->Gpr[i] = (ulong)(i + 1) * 0x0101_0101;
        Assert.Equal(Trapline.X86.StopReason.Kicked, guest.Run(at));
        return [.. new ReadOnlySpan<ulong>(s->Gpr, 16), Flags.Get(s), .. new ReadOnlySpan<ulong>(guest.At(TranslatedGuest.Stack - 64 & ~0xFFFul), 512)];
    }

    [TranslatorFact]
    public void A_copy_does_what_the_interpreter_does()
    {
        using TranslatedGuest translated = Guest(translate: true), interpreted = Guest(translate: false);
        translated.Warm(First);
        long made = translated.Cpu.Translator!.Counters.Translated;
        Assert.Equal(0, translated.Cpu.Translator.Counters.Moved);
        for (int round = 0; round < 4; round++)
            foreach (ulong at in (ReadOnlySpan<ulong>)[Second, First])
                Assert.Equal(Result(interpreted, at), Result(translated, at));
        Assert.InRange(translated.Cpu.Translator.Counters.Moved, 6, 100);
        Assert.InRange(translated.Cpu.Translator.Counters.Translated - made, 0, 2);
    }

    /// <summary>A jump beyond the canonical addresses faults where it is, even if the same jump elsewhere did not.</summary>
    [TranslatorTheory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_jump_out_of_the_canonical_addresses_faults_at_the_jump(bool translate)
    {
        const ulong Last = (1ul << 47) - 0x2000, Directory = 0x70000, Table = 0x71000;
        using TranslatedGuest guest = new(translate);
        guest.Map(First, Frame);
        guest.Map(First + 0x2000, OtherFrame);
        *(ulong*)guest.At(0x20000 + 255 * 8) = 0x21000 | 7;
        *(ulong*)guest.At(0x21000 + 511 * 8) = Directory | 7;
        *(ulong*)guest.At(Directory + 511 * 8) = Table | 7;
        *(ulong*)guest.At(Table + 510 * 8) = Frame | 7;
        guest.Load(TranslatedGuest.Assemble(a =>
        {
            a.inc(edi);
            a.jmp(First + 0x2000);
        }, First), Frame);
        guest.Load(TranslatedGuest.Assemble(TranslatedGuest.End, First + 0x2000), OtherFrame);
        guest.Warm(First);
        guest.State->Gpr[7] = 0;
        Assert.Equal(Trapline.X86.StopReason.TripleFault, guest.Run(Last));
        Assert.Equal((1ul, Last + 2), (guest.State->Gpr[7], guest.State->Rip));
    }

    /// <summary>What was written over is not copied.</summary>
    [TranslatorFact]
    public void Code_that_was_written_over_is_not_copied()
    {
        using TranslatedGuest guest = new();
        guest.Map(First, Frame);
        guest.Map(Second, Frame);
        void Write(uint value) => guest.Load(TranslatedGuest.Assemble(a =>
        {
            a.mov(eax, value);
            TranslatedGuest.End(a);
        }, First), Frame);
        Write(1);
        guest.Warm(First);
        Write(2);
        Assert.Equal(Trapline.X86.StopReason.Kicked, guest.Run(Second));
        Assert.Equal(2ul, guest.State->Gpr[0]);
        guest.Warm(Second);
        Write(3);
        Assert.Equal(Trapline.X86.StopReason.Kicked, guest.Run(First));
        Assert.Equal(3ul, guest.State->Gpr[0]);
    }
}
