using Iced.Intel;
using Trapline.Cpu.Translator;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Hot loops: found by attention, translated as one block, left in every way, and the same to everybody else as they were.</summary>
public sealed unsafe class LoopTests
{
    private const ulong Data = TranslatedGuest.Data;
    private const byte Vector = 0x40;

    /// <summary>Registers at the program's end, and how many loops were translated as such.</summary>
    private static (ulong[] Registers, long Loops) Run(Action<Assembler> program, bool translate, int ring = 3, Action<TranslatedGuest>? prepare = null)
    {
        using TranslatedGuest guest = new(translate, ring);
        guest.Load(program);
        prepare?.Invoke(guest);
        for (int n = 0; n < 16; n++)
            guest.State->Gpr[n] = (ulong)n * 0x1111;
        using CancellationTokenSource ended = new();
        Thread asks = new(() =>
        {
            while (!ended.IsCancellationRequested)
            {
                if (prepare != null)
                    guest.Interrupt(Vector);
                else
                    guest.Cpu.InterruptPending(); // nothing is pending: attention alone
                ended.Token.WaitHandle.WaitOne(1);
            }
        });
        if (translate)
            asks.Start();
        Assert.Equal(StopReason.Kicked, guest.Run());
        ended.Cancel();
        if (translate)
            asks.Join();
        return (new Span<ulong>(guest.State->Gpr, 16).ToArray(), guest.Cpu.Translator?.Counters.Loops ?? 0);
    }

    private static void SameAsInterpreted(Action<Assembler> program)
    {
        (ulong[] translated, long loops) = Run(program, translate: true);
        Assert.True(loops > 0, "no loop was found hot");
        Assert.Equal(Run(program, translate: false).Registers, translated);
    }

    /// <summary>Searches as gzip does: a chain through memory by registers that live in memory, and a way out that is seldom taken.</summary>
    private static void Search(Assembler a, int rounds)
    {
        Label again = a.CreateLabel(), seldom = a.CreateLabel(), on = a.CreateLabel();
        a.mov(r9d, rounds);
        a.mov(r10d, (uint)Data);
        a.mov(r8d, 1);
        a.xor(r11d, r11d);
        a.mov(__dword_ptr[rsp + 8], 0x80);
        a.Label(ref again);
        a.and(r8d, 0x3FFF);
        a.lea(r8d, __[r8 * 5 + 7]);
        a.mov(rax, r8);
        a.and(eax, 0x3FFF);
        a.add(__byte_ptr[r10 + rax], r8b); // several pages: the soft TLB misses at first
        a.movzx(edx, __byte_ptr[r10 + rax]);
        a.add(r11, rdx);
        a.cmp(__dword_ptr[rsp + 8], edx);
        a.je(seldom);
        a.Label(ref on);
        a.dec(r9d);
        a.jne(again);
        TranslatedGuest.End(a);
        a.Label(ref seldom);
        a.rol(r11, 1);
        a.xor(rbx, r11); // not used in the loop itself
        a.jmp(on);
    }

    [TranslatorFact]
    public void A_loop_ends_as_it_would_have() => SameAsInterpreted(a => Search(a, 4_000_000));

    /// <summary>A jump is taken on the loop's way, another leaves it backwards, and flags live across its beginning.</summary>
    [TranslatorFact]
    public void Jumps_are_turned_round() => SameAsInterpreted(a =>
    {
        Label again = a.CreateLabel(), over = a.CreateLabel(), before = a.CreateLabel(), first = a.CreateLabel();
        a.mov(r8d, 6_000_000);
        a.xor(r9, r9);
        a.jmp(first);
        a.Label(ref before);
        a.inc(rdi);
        a.Label(ref first);
        a.stc();
        a.Label(ref again);
        a.adc(r9, 3);
        a.test(r8d, 0x1000);
        a.jne(over);
        a.add(r9, 5);
        a.Label(ref over);
        a.test(r8d, 0x7FFF);
        a.lea(r8d, __[r8 - 1]);
        a.je(before);
        a.test(r8d, r8d);
        a.clc();
        a.cmp(r8d, 0);
        a.jne(again);
        TranslatedGuest.End(a);
    });

    /// <summary>Fewer iterations than are watched: the loop is come to again and again.</summary>
    [TranslatorFact]
    public void A_loop_of_few_iterations_is_found() => SameAsInterpreted(a =>
    {
        Label outer = a.CreateLabel(), inner = a.CreateLabel();
        a.mov(r9d, 1_500_000);
        a.Label(ref outer);
        a.mov(ecx, 5);
        a.Label(ref inner);
        a.lea(rax, __[rax + rax * 4 + 3]);
        a.xor(rax, rcx);
        a.dec(ecx);
        a.jne(inner);
        a.dec(r9d);
        a.jne(outer);
        TranslatedGuest.End(a);
    });

    /// <summary>
    /// Multiplies long numbers as OpenSSL does: all registers are used, those that live in memory more than others, and the carry flags live across every
    /// access. The walk goes over several pages, so that accesses miss.
    /// </summary>
    private static void Multiply(Assembler a, int rounds)
    {
        Label again = a.CreateLabel(), inner = a.CreateLabel();
        a.mov(ebp, (uint)Data);
        a.mov(esi, (uint)Data + 0x1FF0);
        a.mov(edi, (uint)Data + 0x4FE8);
        a.mov(r12d, rounds);
        a.Label(ref again);
        a.xor(ecx, ecx);
        a.Label(ref inner);
        a.mulx(r8, rax, __qword_ptr[rbp]);
        a.adcx(rbx, rax);
        a.adox(r8, r9);
        a.mulx(r9, rax, __qword_ptr[rbp + 8]);
        a.adcx(r8, rax);
        a.adox(r9, r10);
        a.mulx(r10, rax, __qword_ptr[rbp + 16]);
        a.adcx(r9, rax);
        a.adox(r10, r11);
        a.mulx(r11, rax, __qword_ptr[rbp + 24]);
        a.mov(rdx, __qword_ptr[rsi + rcx * 8]);
        a.adcx(r10, rax);
        a.adox(r11, r13);
        a.mov(__qword_ptr[rdi + rcx * 8], rbx);
        a.mov(rbx, r8);
        a.adcx(r11, r14);
        a.mov(r15, __qword_ptr[At]);
        a.adox(r15, r8);
        a.inc(rcx);
        a.bt(rcx, 4);
        a.jnc(inner);
        a.dec(r12);
        a.jne(again);
        TranslatedGuest.End(a);
    }

    /// <summary>A constant address: the probe compares one tag.</summary>
    private const long At = (long)Data + 0x3008;

    [TranslatorFact]
    public void Registers_that_a_loop_uses_less_change_places() => SameAsInterpreted(a => Multiply(a, 1_000_000));

    /// <summary>Handlers see each register where it belongs, and so does the loop afterwards.</summary>
    [TranslatorFact]
    public void Interrupts_find_registers_at_home()
    {
        const ulong handler = 0xA000;
        static void Program(Assembler a)
        {
            a.mov(rbx, 0x1234_5678);
            a.mov(rsi, 0x9ABC);
            a.mov(rdi, 0);
            a.mov(r10d, (uint)Data);
            a.sti();
            Search(a, 8_000_000);
        }
        void Prepare(TranslatedGuest guest) => guest.Handle(Vector, handler, a =>
        {
            Label wrong = a.CreateLabel(), right = a.CreateLabel();
            a.push(rax);
            a.cmp(rsi, 0x9ABC);
            a.jne(wrong);
            a.mov(eax, r10d);
            a.cmp(rax, (int)Data);
            a.je(right);
            a.Label(ref wrong);
            a.inc(rdi);
            a.Label(ref right);
            a.pop(rax);
            a.iretq();
        });
        (ulong[] translated, long loops) = Run(Program, translate: true, ring: 0, Prepare);
        Assert.True(loops > 0, "no loop was found hot");
        ulong[] interpreted = Run(Program, translate: false, ring: 0).Registers;
        Assert.Equal(0ul, translated[7]);
        Assert.Equal(interpreted, translated);
    }
}
