using Iced.Intel;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>RDTSC and RDTSCP in translated code: managed code gives the time, and the block goes on with everything else as it was.</summary>
public sealed unsafe class TimeTests
{
    [TranslatorFact]
    public void Time_is_read_within_a_block()
    {
        using TranslatedGuest guest = new(ring: 0);
        guest.State->TscAux = 0x77;
        guest.Load(a =>
        {
            a.mov(r8, -1L);
            a.stc();
            a.rdtsc();
            a.mov(esi, eax);
            a.mov(edi, edx);
            a.movq(xmm1, r8);
            a.rdtscp();
            a.setb(bl); // the flag from before
            a.movq(r9, xmm1);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        CpuState* s = guest.State;
        long asked = guest.Cpu.Translator!.Counters.TimeExits, interpreted = guest.Cpu.Translator.Counters.Interpreted;
        for (int i = 0; i < 100; i++)
        {
            s->Gpr[3] = 0;
            Assert.Equal(StopReason.Kicked, guest.Run());
            ulong first = s->Gpr[7] << 32 | s->Gpr[6], second = s->Gpr[2] << 32 | s->Gpr[0];
            Assert.Equal(first + 2, second);
            Assert.Equal((0x77ul, 1ul, ulong.MaxValue), (s->Gpr[1], s->Gpr[3], s->Gpr[9]));
        }
        Assert.Equal(asked + 200, guest.Cpu.Translator.Counters.TimeExits);
        Assert.Equal(interpreted + 100, guest.Cpu.Translator.Counters.Interpreted); // the OUT at the end
    }

    /// <summary>CR4.TSD keeps the time from ring 3 (SDM Vol. 3, 17.17).</summary>
    [TranslatorFact]
    public void Time_may_be_forbidden()
    {
        using TranslatedGuest guest = new(ring: 3);
        guest.Load(a =>
        {
            a.rdtsc();
            TranslatedGuest.End(a);
        });
        guest.Warm();
        guest.State->Cr4 |= Cr4.Tsd;
        Assert.Equal(StopReason.TripleFault, guest.Run()); // there is no handler for #GP
    }
}
