using Iced.Intel;
using Trapline.Host;
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

    /// <summary>Where the counter follows the host's clock, translated code reads that without leaving, and keeps all else as it was.</summary>
    [TranslatorFact]
    public void Time_is_the_hosts_where_it_follows_that()
    {
        const ulong Lead = 5_000_000_000_000;
        using TranslatedGuest guest = new(timeLead: Lead);
        CpuState* s = guest.State;
        s->TscAux = 0x77;
        s->TscOffset = 1_000_000_000_000;
        guest.Load(a =>
        {
            a.fld1();
            a.vpcmpeqd(ymm9, ymm9, ymm9);
            a.stc();
            a.call(TranslatedGuest.Code + 0x80);
            a.setb(bl); // the flag from before
            a.fstp(__qword_ptr[TranslatedGuest.Data]);
            a.vextracti128(xmm9, ymm9, 1);
            a.vmovq(rcx, xmm9);
            TranslatedGuest.End(a);
        });
        guest.Load(a =>
        {
            a.rdtsc();
            a.mov(__dword_ptr[TranslatedGuest.Data + 8], eax);
            a.mov(__dword_ptr[TranslatedGuest.Data + 12], edx);
            a.rdtscp();
            a.mov(__dword_ptr[TranslatedGuest.Data + 16], ecx);
            a.ret();
        }, TranslatedGuest.Code + 0x80);
        guest.Warm();
        long asked = guest.Cpu.Translator!.Counters.TimeExits;
        ulong last = 0;
        for (int i = 0; i < 1000; i++)
        {
            for (int r = 0; r < 16; r++)
                s->Gpr[r] = 0x1111_1111_1111_1111ul * (ulong)r;
            ulong before = (ulong)HostTime.Nanoseconds + Lead + s->TscOffset;
            Assert.Equal(StopReason.Kicked, guest.Run());
            ulong after = (ulong)HostTime.Nanoseconds + Lead + s->TscOffset;
            ulong first = *(ulong*)guest.At(TranslatedGuest.Data + 8), second = s->Gpr[2] << 32 | s->Gpr[0];
            Assert.True(before <= first && first <= second && second <= after && last <= first, $"{before} {first} {second} {after}");
            last = second;
            Assert.Equal((0x77u, 1.0, ulong.MaxValue, 1ul), (*(uint*)guest.At(TranslatedGuest.Data + 16), *(double*)guest.At(TranslatedGuest.Data), s->Gpr[1], s->Gpr[3] & 0xFF));
            for (int r = 5; r < 16; r++)
                Assert.Equal(0x1111_1111_1111_1111ul * (ulong)r, s->Gpr[r]);
            Assert.Equal(0ul, (s->Gpr[0] | s->Gpr[2]) >> 32);
        }
        Assert.Equal(asked, guest.Cpu.Translator.Counters.TimeExits);
    }

    /// <summary>CR4.TSD keeps the time from ring 3 (SDM Vol. 3, 17.17).</summary>
    [TranslatorTheory]
    [InlineData(null)]
    [InlineData(1000ul)]
    public void Time_may_be_forbidden(ulong? lead)
    {
        using TranslatedGuest guest = new(ring: 3, timeLead: lead);
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
