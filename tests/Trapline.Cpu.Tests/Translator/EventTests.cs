using Iced.Intel;
using Trapline.Cpu.Translator;
using Trapline.Cpu.Translator.Runtime;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Interrupts, traps and breakpoints in code that is translated: at the instruction that the architecture names.</summary>
public sealed unsafe class EventTests
{
    private const ulong Handler = 0xA000, Log = 0x11000;
    private const byte External = 0x40;

    /// <summary>Appends the interrupted RIP to the log: its first word counts.</summary>
    private static void LogRip(Assembler a)
    {
        a.push(rax);
        a.push(rdx);
        a.mov(eax, (uint)Log);
        a.mov(rdx, __qword_ptr[rsp + 16]);
        a.inc(__qword_ptr[rax]);
        a.push(rcx);
        a.mov(rcx, __qword_ptr[rax]);
        a.mov(__qword_ptr[rax + rcx * 8], rdx);
        a.pop(rcx);
        a.pop(rdx);
        a.pop(rax);
    }

    private static ulong[] Logged(TranslatedGuest guest)
    {
        ulong[] rips = new ReadOnlySpan<ulong>(guest.At(Log + 8), (int)*(ulong*)guest.At(Log)).ToArray();
        *(ulong*)guest.At(Log) = 0;
        return rips;
    }

    private static TranslatedGuest Guest(byte vector, Action<Assembler>? before = null)
    {
        TranslatedGuest guest = new(ring: 0);
        guest.Handle(vector, Handler, a => { LogRip(a); before?.Invoke(a); a.iretq(); });
        return guest;
    }

    /// <summary>STI, and a load of SS after it, each hold interrupts off until the next instruction is done (SDM Vol. 3, 6.8.1 and 6.8.3).</summary>
    [TranslatorTheory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_pending_interrupt_waits_for_the_shadows_end(bool loadSs)
    {
        using TranslatedGuest guest = Guest(External);
        ulong expected = 0;
        guest.Load(a =>
        {
            Label after = a.CreateLabel();
            a.cli();
            a.@out(0x10, al);
            a.xor(eax, eax);
            a.sti();
            if (loadSs)
                a.mov(ss, ax);
            a.inc(rbx);
            a.Label(ref after);
            a.lea(rdx, __[after]);
            a.inc(rbx);
            a.mov(__qword_ptr[rdi], rdx);
            a.cli();
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[7] = TranslatedGuest.Data;
        guest.Warm();
        Assert.Empty(Logged(guest));
        guest.AtOut = () => guest.Interrupt(External);
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(StopReason.Kicked, guest.Run());
            expected = *(ulong*)guest.At(TranslatedGuest.Data);
            Assert.Equal([expected], Logged(guest));
        }
    }

    /// <summary>An interrupt that comes while IF is clear is delivered by the POPF or STI that sets it, not lost.</summary>
    [TranslatorFact]
    public void A_held_interrupt_comes_when_flags_are_restored()
    {
        using TranslatedGuest guest = Guest(External);
        guest.Load(a =>
        {
            a.sti();
            a.pushfq();
            a.cli();
            a.@out(0x10, al);
            a.inc(rbx);
            a.popfq();
            a.inc(rbx);
            a.cli();
            TranslatedGuest.End(a);
        });
        guest.Warm();
        guest.AtOut = () => guest.Interrupt(External);
        Assert.Equal(StopReason.Kicked, guest.Run());
        // STI, PUSHFQ, CLI: one byte each; OUT 2, INC 3, POPFQ 1.
        Assert.Equal([TranslatedGuest.Code + 9], Logged(guest));
    }

    public enum Cycle
    {
        ToItself,
        ThroughForwardJump,
        ThroughAnotherPage,
        Indirect,
        Recursion,
        Return,
        Loop,
    }

    /// <summary>An endless loop from the start of the code: a step, then what closes the cycle.</summary>
    private static void Spin(TranslatedGuest guest, Cycle cycle, Action<Assembler> step)
    {
        const ulong Start = TranslatedGuest.Code, Middle = Start + 0x80, Far = 0x9000;
        guest.Load(a =>
        {
            a.mov(esi, (uint)Start);
            a.mov(rcx, -1L);
            a.sti();
            step(a);
            switch (cycle)
            {
                case Cycle.ToItself: a.jmp(Start); break;
                case Cycle.ThroughForwardJump: a.jmp(Middle); break;
                case Cycle.ThroughAnotherPage: a.jmp(Far); break;
                case Cycle.Indirect: a.jmp(rsi); break;
                case Cycle.Recursion: a.mov(rsp, TranslatedGuest.Stack); a.call(Start); break;
                case Cycle.Return: a.push(rsi); a.ret(); break;
                case Cycle.Loop: a.loop(Start); break;
            }
        });
        guest.Load(a => { a.test(eax, eax); a.jz(Start); a.jmp(Start); }, Middle);
        guest.Load(a => { a.nop(); a.jmp(Start); }, Far);
    }

    /// <summary>Every kind of cycle passes a place that looks for attention: none runs on for ever.</summary>
    [TranslatorTheory]
    [InlineData(Cycle.ToItself)]
    [InlineData(Cycle.ThroughForwardJump)]
    [InlineData(Cycle.ThroughAnotherPage)]
    [InlineData(Cycle.Indirect)]
    [InlineData(Cycle.Recursion)]
    [InlineData(Cycle.Return)]
    [InlineData(Cycle.Loop)]
    public void An_interrupt_ends_an_endless_loop(Cycle cycle)
    {
        using TranslatedGuest guest = new(ring: 0);
        guest.Handle(External, Handler, TranslatedGuest.End);
        Spin(guest, cycle, a => a.inc(__qword_ptr[rdi]));
        guest.State->Gpr[7] = TranslatedGuest.Data;
        guest.State->Gpr[0] = 0;
        using Watchdog run = new(() => guest.Run());
        run.WaitUntil(() => Volatile.Read(ref *(ulong*)guest.At(TranslatedGuest.Data)) > 100_000);
        guest.Interrupt(External);
        Assert.Equal(StopReason.Kicked, run.Result());
        Assert.NotEqual(0, guest.Cpu.Translator!.Counters.AttentionExits + guest.Cpu.Translator.Counters.JumpMisses);
        Assert.Equal(Rflags.If, *(ulong*)guest.At(guest.State->Gpr[4] + 16) & Rflags.If);
    }

    /// <summary>
    /// An interrupt that comes in the middle of translated code is taken before the loop has come round once more, whatever closes the cycle; if calls
    /// alone do, before the return stack is full.
    /// </summary>
    [TranslatorTheory]
    [InlineData(Cycle.ToItself)]
    [InlineData(Cycle.ThroughForwardJump)]
    [InlineData(Cycle.ThroughAnotherPage)]
    [InlineData(Cycle.Indirect)]
    [InlineData(Cycle.Recursion)]
    [InlineData(Cycle.Return)]
    [InlineData(Cycle.Loop)]
    public void An_interrupt_is_taken_within_one_round(Cycle cycle)
    {
        using TranslatedGuest guest = new(ring: 0);
        guest.Handle(External, Handler, TranslatedGuest.End);
        Spin(guest, cycle, a => { a.inc(rbx); a.add(rdi, r12); a.mov(rdx, __qword_ptr[rdi]); });
        // Each round misses the soft TLB at a page of its own; managed code fills it and goes on in the middle of the round. After the interrupt was
        // raised none does: the code must look by itself.
        const int Raised = 200;
        int walks = 0;
        ulong rounds = 0;
        guest.State->Gpr[7] = TranslatedGuest.Data + 0x3_0000;
        guest.State->Gpr[12] = 0x1000;
        guest.Cpu.Mmu.WalkTrace = (linear, _) =>
        {
            if (linear < TranslatedGuest.Data + 0x3_0000 || ++walks != Raised)
                return;
            rounds = guest.State->Gpr[3];
            guest.State->Gpr[12] = 0;
            guest.Interrupt(External);
        };
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.InRange(rounds, Raised - 1ul, Raised + 1ul);
        Assert.InRange(guest.State->Gpr[3], rounds, rounds + (cycle == Cycle.Recursion ? LowLayout.ShadowSize / 8 : 1));
        Assert.NotEqual(0, guest.Cpu.Translator!.Counters.ReadMisses);
    }

    /// <summary>TF traps after each instruction, the one that clears it included (SDM Vol. 3, 17.3.1.4).</summary>
    [TranslatorFact]
    public void Single_steps_go_through_translated_code()
    {
        using TranslatedGuest guest = Guest(Vector.Debug);
        guest.Load(Stepped);
        guest.State->Gpr[6] = 0;
        guest.Warm();
        Assert.Empty(Logged(guest));
        ulong counted = guest.State->Gpr[3];
        guest.State->Gpr[6] = Rflags.Tf;
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal(counted + 3, guest.State->Gpr[3]);
        Assert.Equal([9, 12, 15, 16, 24, 25], Logged(guest).Select(rip => (int)(rip - TranslatedGuest.Code)));
        guest.State->Gpr[6] = 0;
        guest.Warm();
        Assert.Empty(Logged(guest));
    }

    private static void Stepped(Assembler a)
    {
        a.pushfq(); // 0
        a.or(__qword_ptr[rsp], rsi); // 1
        a.popfq(); // 5
        a.inc(rbx); // 6, no trap yet
        a.inc(rbx); // 9
        a.inc(rbx); // 12
        a.pushfq(); // 15
        a.and(__qword_ptr[rsp], ~(int)Rflags.Tf); // 16
        a.popfq(); // 24
        TranslatedGuest.End(a);
    }

    /// <summary>A breakpoint set on an instruction in the middle of a translated block stops before it; RF lets it pass once.</summary>
    [TranslatorFact]
    public void Code_breakpoints_stop_in_translated_code()
    {
        using TranslatedGuest guest = Guest(Vector.Debug, a => a.or(__qword_ptr[rsp + 16], (int)Rflags.Rf));
        guest.Load(a =>
        {
            a.mov(dr7, rsi); // 3
            a.inc(rbx);
            a.inc(rbx); // at 6
            a.inc(rbx);
            a.xor(eax, eax);
            a.mov(dr7, rax);
            TranslatedGuest.End(a);
        });
        guest.State->Dr[0] = TranslatedGuest.Code + 6;
        guest.State->Gpr[6] = 0x400;
        guest.Warm();
        Assert.Empty(Logged(guest));
        guest.State->Gpr[6] = 0x401;
        for (int i = 0; i < 3; i++)
        {
            ulong counted = guest.State->Gpr[3];
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(counted + 3, guest.State->Gpr[3]);
            Assert.Equal([TranslatedGuest.Code + 6], Logged(guest));
            Assert.Equal(1ul, guest.State->Dr[6] & 0xF);
        }
    }

    /// <summary>A data breakpoint traps after the access, also where translated code would have found the page in its window or its soft TLB.</summary>
    [TranslatorFact]
    public void Data_breakpoints_trap_in_translated_code()
    {
        using TranslatedGuest guest = Guest(Vector.Debug);
        guest.Load(a =>
        {
            a.mov(dr7, rsi); // 3
            a.push(rax); // 1: the next begins at 4
            a.mov(__qword_ptr[rdi], rax); // 3
            a.mov(__qword_ptr[rdi + 8], rax); // 4: the next begins at 11
            a.pop(rdx);
            a.xor(eax, eax);
            a.mov(dr7, rax);
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[7] = TranslatedGuest.Data;
        guest.State->Dr[0] = TranslatedGuest.Data + 8;
        guest.State->Dr[1] = TranslatedGuest.Stack - 8;
        guest.State->Gpr[6] = 0x400;
        guest.Warm();
        Assert.Empty(Logged(guest));
        guest.State->Gpr[6] = 0x400 | 5 | 9ul << 16 | 9ul << 20; // both: writes of eight bytes
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal([TranslatedGuest.Code + 4, TranslatedGuest.Code + 11], Logged(guest));
    }
}
