using Iced.Intel;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>What kernels do at the beginning of every exception handler, by translation: it must leave what the interpreter leaves, and fault where it does.</summary>
public sealed unsafe class RingZeroTests
{
    private const byte Undefined = 6, Protection = 13;
    private const ulong Handler = 0x9000;

    private static void Program(Assembler a)
    {
        a.std();
        a.cld();
        a.mov(rax, cr0);
        a.mov(r8, rax);
        a.mov(r9, cr2);
        a.mov(r12, cr3);
        a.mov(r10, cr4);
        a.xor(ecx, ecx);
        a.mov(rdx, ulong.MaxValue);
        a.mov(rax, ulong.MaxValue);
        a.cmp(rcx, 1);
        a.rdpkru();
        a.adc(rbx, 0);
        a.clac();
        a.pushfq();
        a.pop(rsi);
        TranslatedGuest.End(a);
    }

    private static TranslatedGuest Guest(bool translate, bool smap, bool keys = true)
    {
        TranslatedGuest guest = new(translate, ring: 0);
        CpuState* s = guest.State;
        s->Cr4 |= (smap ? Cr4.Smap : 0) | (keys ? Cr4.Pke : 0);
        s->Cr2 = 0x1234_5678_9ABC;
        s->Pkru = 0x5555_5550;
        guest.Cpu.Mmu.FlushAll();
        guest.Cpu.ModeChanged();
        // The stack and the data are the kernel's, where SMAP is in force.
        if (smap)
            for (ulong page = 0; page < 512; page++)
                guest.Entry(page << 12) &= ~4ul;
        return guest;
    }

    [TranslatorTheory]
    [InlineData(false)]
    [InlineData(true)]
    public void Both_engines_leave_the_same(bool smap)
    {
        using TranslatedGuest translated = Guest(true, smap), interpreted = Guest(false, smap);
        translated.Load(Program);
        interpreted.Load(Program);
        translated.Warm();
        interpreted.Warm();
        Assert.Equal(new ReadOnlySpan<ulong>(interpreted.State->Gpr, 16), new ReadOnlySpan<ulong>(translated.State->Gpr, 16));
        Assert.Equal(Flags.Get(interpreted.State), Flags.Get(translated.State));
        Assert.Equal(0x5555_5550ul, translated.State->Gpr[0]);
        Assert.Equal(0x1234_5678_9ABCul, translated.State->Gpr[9]);
        Assert.Equal(0ul, translated.State->RFlags & (Rflags.Df | Rflags.Ac));
    }

    /// <summary>With SMAP in force, AC clear: nothing leaves but STD and OUT.</summary>
    [TranslatorFact]
    public void Translated_code_does_not_leave_for_them()
    {
        using TranslatedGuest guest = Guest(true, smap: true);
        guest.Load(Program);
        guest.Warm();
        long before = guest.Cpu.Translator!.Counters.Interpreted;
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.InRange(guest.Cpu.Translator.Counters.Interpreted - before, 1, 3);
    }

    [TranslatorTheory]
    [InlineData(true, 0ul, 0)]
    [InlineData(true, 1ul, Protection)]
    [InlineData(true, 1ul << 32, 0)]
    [InlineData(false, 0ul, Undefined)]
    public void Reading_protection_keys_faults_where_it_should(bool keys, ulong selector, byte vector)
    {
        using TranslatedGuest guest = Guest(true, smap: false, keys: true);
        foreach (byte fault in (ReadOnlySpan<byte>)[Undefined, Protection])
            guest.Handle(fault, Handler + fault * 64u, a =>
            {
                a.mov(ebx, fault);
                TranslatedGuest.End(a);
            });
        guest.Load(a =>
        {
            a.xor(ebx, ebx);
            a.mov(rcx, rdi);
            a.rdpkru();
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[7] = 0;
        guest.Warm();
        if (!keys)
            guest.State->Cr4 &= ~Cr4.Pke;
        guest.State->Gpr[7] = selector;
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal(vector, guest.State->Gpr[3]);
    }

    /// <summary>In ring 3 a control register is not read, whatever a translation for ring 0 of the same bytes does.</summary>
    [TranslatorFact]
    public void Control_registers_are_not_read_in_ring_3()
    {
        using TranslatedGuest guest = new(ring: 3);
        guest.Load(a =>
        {
            a.nop();
            a.mov(rax, cr0);
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[0] = 7;
        for (int i = 0; i < 3 * Trapline.Cpu.Translator.TranslatorOptions.WarmAfter; i++)
            Assert.Equal(StopReason.TripleFault, guest.Run());
        Assert.Equal(7ul, guest.State->Gpr[0]);
    }
}
