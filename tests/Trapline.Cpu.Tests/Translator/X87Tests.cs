using Iced.Intel;
using Trapline.Cpu.Translator;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>x87 on the host's FPU: when it may be used, and that guest and host never see each other's state.</summary>
public sealed unsafe class X87Tests
{
    private const ulong Data = TranslatedGuest.Data, Handler = 0xA000;

    /// <summary>((ST(0) + 1) * m64) stored as m80, the control word by way of memory.</summary>
    private static void Program(Assembler a)
    {
        a.fnstcw(__word_ptr[rsp - 8]);
        a.fldcw(__word_ptr[rsp - 8]);
        a.fld(__qword_ptr[rdi]);
        a.fld1();
        a.faddp(st1, st0);
        a.fmul(__qword_ptr[rdi + 8]);
        a.fstp(__tbyte_ptr[rdi + 0x10]);
        a.fnstsw(ax);
        TranslatedGuest.End(a);
    }

    private static TranslatedGuest Loaded(Action<Assembler> program, int ring = 3)
    {
        TranslatedGuest guest = new(ring: ring);
        guest.Load(program);
        guest.State->Gpr[7] = Data;
        *(double*)guest.At(Data) = 2.5;
        *(double*)guest.At(Data + 8) = 4;
        return guest;
    }

    /// <summary>3.5 * 4 = 14 = 1.75 * 2^3.</summary>
    private static void AssertFourteen(TranslatedGuest guest)
    {
        Assert.Equal(0xE000_0000_0000_0000, *(ulong*)guest.At(Data + 0x10));
        Assert.Equal(0x4002, *(ushort*)guest.At(Data + 0x18));
        *(ulong*)guest.At(Data + 0x10) = 0;
    }

    /// <summary>Also where the guest has enabled neither SSE nor AVX.</summary>
    [TranslatorTheory]
    [InlineData(true)]
    [InlineData(false)]
    public void It_runs_without_the_interpreter(bool vectors)
    {
        using TranslatedGuest guest = Loaded(Program);
        if (!vectors)
            guest.State->Cr4 &= ~(Cr4.OsFxsr | Cr4.OsXsave);
        guest.Cpu.ModeChanged();
        guest.Warm();
        long before = guest.Cpu.Translator!.Counters.Interpreted;
        for (int i = 1; i <= 10; i++)
        {
            Assert.Equal(StopReason.Kicked, guest.Run());
            AssertFourteen(guest);
            Assert.Equal(before + i, guest.Cpu.Translator.Counters.Interpreted); // the OUT at the end
        }
    }

    /// <summary>What managed code sees after a run: registers, and the pointers to guest code and data, not to emitted code.</summary>
    [TranslatorFact]
    public void The_state_is_the_guests_own()
    {
        using TranslatedGuest guest = Loaded(a =>
        {
            a.fld(__dword_ptr[rdi + 8]); // 3 bytes
            a.fldpi(); // 2
            a.fst(__qword_ptr[rsp - 0x10]); // 4: at Code + 5
            a.nop();
            a.ffree(st1);
            TranslatedGuest.End(a);
        });
        CpuState* s = guest.State;
        s->Cs.Selector = 0x33;
        s->Ss.Selector = 0x2B;
        for (int i = 0; i < 3 * TranslatorOptions.WarmAfter; i++)
        {
            s->FpuTop = 3;
            s->FpuTags = 0;
            s->Fsw = 0x4000;
            s->Fip = s->Fdp = s->Fop = 0;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(1, s->FpuTop);
            Assert.Equal(1 << 1, s->FpuTags);
            Assert.Equal((0xC90F_DAA2_2168_C235, 0x4000ul), (s->Fpr[2], s->Fpr[3]));
            Assert.Equal((TranslatedGuest.Code + 5, TranslatedGuest.Stack - 0x10, 0x33, 0x2B), (s->Fip, s->Fdp, (int)s->Fcs, (int)s->Fds));
            Assert.Equal(0x554, s->Fop); // DD /2 with SIB and disp8
            Assert.Equal(0x20, s->Fsw & 0x3F); // rounded pi to a double
        }
    }

    /// <summary>FNINIT empties the stack, not the registers, and there is no last instruction any more; MMX registers are x87 registers.</summary>
    [TranslatorFact]
    public void Initialization_and_MMX_are_the_hosts_too()
    {
        using TranslatedGuest guest = Loaded(a =>
        {
            a.fninit();
            a.movq(mm3, __qword_ptr[rdi]);
            a.paddb(mm3, mm3);
            a.movq(__qword_ptr[rdi + 0x20], mm3);
            a.emms();
            a.fld1();
            a.fninit();
            TranslatedGuest.End(a);
        });
        *(ulong*)guest.At(Data) = 0x0102_0304_0506_0780;
        CpuState* s = guest.State;
        long before = 0;
        for (int i = 0; i < 3 * TranslatorOptions.WarmAfter; i++)
        {
            *(ulong*)guest.At(Data + 0x20) = 0;
            (s->Fcw, s->FpuTop, s->FpuTags, s->Fsw) = (0x7F, 5, 0xFF, 0x4700);
            before = guest.Cpu.Translator!.Counters.Interpreted;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(0x0204_0608_0A0C_0E00ul, *(ulong*)guest.At(Data + 0x20));
            Assert.Equal((0x37F, 0, 0, 0), (s->Fcw, s->FpuTop, s->FpuTags, s->Fsw));
            Assert.Equal((0ul, 0ul, 0, 0, 0), (s->Fip, s->Fdp, s->Fop, s->Fcs, s->Fds));
            Assert.Equal((0x0204_0608_0A0C_0E00ul, 0xFFFFul), (s->Fpr[6], (ushort)s->Fpr[7]));
            Assert.Equal((1ul << 63, 0x3FFFul), (s->Fpr[14], s->Fpr[15]));
        }
        Assert.Equal(before + 1, guest.Cpu.Translator!.Counters.Interpreted);
    }

    /// <summary>An unmasked exception makes #MF at the next x87 instruction of the guest, and no signal of the host.</summary>
    [TranslatorTheory]
    [InlineData(false)]
    [InlineData(true)]
    public void Unmasked_exceptions_are_the_interpreters(bool byFldcw)
    {
        using TranslatedGuest guest = Loaded(a =>
        {
            a.fldcw(__word_ptr[rdi + 0x20]);
            a.fldz();
            a.fld1();
            a.fdiv(st0, st1);
            a.fstp(__qword_ptr[rdi + 0x28]);
            a.fstp(st0);
            TranslatedGuest.End(a);
        }, ring: 0);
        guest.Handle(Vector.X87Error, Handler, TranslatedGuest.End);
        *(ushort*)guest.At(Data + 0x20) = 0x37F;
        guest.Warm();
        Assert.Equal(double.PositiveInfinity, *(double*)guest.At(Data + 0x28));
        guest.State->Fsw = 0;
        *(double*)guest.At(Data + 0x28) = 0;
        if (byFldcw)
            *(ushort*)guest.At(Data + 0x20) = 0x37B;
        else
            guest.Load([0x90, 0x90, 0x90]); // no FLDCW: it is unmasked from the start
        guest.State->Fcw = 0x37B;
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal(0x84, guest.State->Fsw & 0xFF);
        Assert.Equal(TranslatedGuest.Code + 9, *(ulong*)guest.At(guest.State->Gpr[4])); // the FSTP
        Assert.Equal(0, *(double*)guest.At(Data + 0x28));
    }

    /// <summary>While an exception is unmasked only the x87 instructions themselves leave; and a group of accesses around one keeps its addend.</summary>
    [TranslatorTheory]
    [InlineData(0x37F, 1)]
    [InlineData(0x37B, 4)]
    public void What_is_around_x87_stays_native(int control, int interpreted)
    {
        using TranslatedGuest guest = Loaded(a =>
        {
            a.mov(__qword_ptr[rdi + 0x20], rax);
            a.mov(rbx, __qword_ptr[rdi + 0x28]);
            a.fld(__qword_ptr[rdi]);
            a.fld1();
            a.mov(rdx, __qword_ptr[rdi + 0x20]);
            a.add(rdx, rbx);
            a.fcompp();
            a.mov(__qword_ptr[rdi + 0x30], rdx);
            TranslatedGuest.End(a);
        });
        *(ulong*)guest.At(Data + 0x28) = 7;
        CpuState* s = guest.State;
        s->Fcw = (ushort)control;
        for (int i = 0; i < 4; i++)
            guest.Warm(); // what follows each interpreted instruction becomes warm after what precedes it
        for (int i = 0; i < 10; i++)
        {
            s->Gpr[0] = 100 + (ulong)i;
            long before = guest.Cpu.Translator!.Counters.Interpreted;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(107 + (ulong)i, *(ulong*)guest.At(Data + 0x30));
            Assert.Equal(before + interpreted, guest.Cpu.Translator.Counters.Interpreted);
            Assert.Equal(0x100, s->Fsw & 0x4500); // 1 < 2.5
        }
    }

    /// <summary>CR0.TS: the translation of another mode must not run.</summary>
    [TranslatorTheory]
    [InlineData(Cr0.Ts)]
    [InlineData(Cr0.Em)]
    public void A_switched_task_has_no_FPU(ulong bit)
    {
        using TranslatedGuest guest = Loaded(Program, ring: 0);
        guest.Handle(Vector.DeviceNotAvailable, Handler, TranslatedGuest.End);
        guest.Warm();
        AssertFourteen(guest);
        guest.State->Cr0 |= bit;
        guest.Cpu.ModeChanged();
        for (int i = 0; i < 2 * TranslatorOptions.WarmAfter; i++)
        {
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(0ul, *(ulong*)guest.At(Data + 0x10));
            Assert.Equal(TranslatedGuest.Code, *(ulong*)guest.At(guest.State->Gpr[4]));
        }
        guest.State->Cr0 &= ~bit;
        guest.Cpu.ModeChanged();
        Assert.Equal(StopReason.Kicked, guest.Run());
        AssertFourteen(guest);
    }

    /// <summary>TLB misses in the middle of x87 code: translated code goes on with the registers as they were.</summary>
    [TranslatorFact]
    public void Registers_survive_TLB_misses()
    {
        using TranslatedGuest guest = Loaded(Program);
        guest.Warm();
        for (int i = 0; i < 20; i++)
        {
            guest.Cpu.Mmu.FlushAll();
            guest.State->Attention = 0;
            Assert.Equal(StopReason.Kicked, guest.Run());
            AssertFourteen(guest);
        }
        Assert.True(guest.Cpu.Translator!.Counters.ReadMisses >= 20);
    }

    /// <summary>FXSAVE, FNSAVE and FXRSTOR are the interpreter's: they see and set what translated code works on.</summary>
    [TranslatorFact]
    public void Saves_and_restores_see_the_same_registers()
    {
        using TranslatedGuest guest = Loaded(a =>
        {
            a.fldpi();
            a.fxsave(__[rdi + 0x100]);
            a.fstp(__tbyte_ptr[rdi + 0x40]);
            a.fld1();
            a.fxrstor(__[rdi + 0x100]);
            a.fstp(__tbyte_ptr[rdi + 0x50]);
            a.fldpi();
            a.fnsave(__[rdi + 0x400]);
            a.fldz();
            a.frstor(__[rdi + 0x400]);
            a.fstp(__tbyte_ptr[rdi + 0x60]);
            TranslatedGuest.End(a);
        });
        for (int i = 0; i < 3 * TranslatorOptions.WarmAfter; i++)
        {
            new Span<byte>(guest.At(Data + 0x40), 0x30).Clear();
            Assert.Equal(StopReason.Kicked, guest.Run());
            foreach (ulong at in new[] { Data + 0x40, Data + 0x50, Data + 0x60, Data + 0x120, Data + 0x41C })
            {
                Assert.Equal(0xC90F_DAA2_2168_C235, *(ulong*)guest.At(at));
                Assert.Equal(0x4000, *(ushort*)guest.At(at + 8));
            }
            Assert.Equal(TranslatedGuest.Code, *(uint*)guest.At(Data + 0x108));
            Assert.Equal(0, guest.State->FpuTags);
        }
    }

    /// <summary>The host's own FPU state is as .NET expects it after guest code with another control word and a full stack.</summary>
    [TranslatorFact]
    public void The_host_finds_its_own_control_word()
    {
        using TranslatedGuest guest = Loaded(a =>
        {
            for (int i = 0; i < 8; i++)
                a.fld1();
            TranslatedGuest.End(a);
        });
        guest.State->Fcw = 0x07F; // single precision
        for (int i = 0; i < 2 * TranslatorOptions.WarmAfter; i++)
        {
            guest.State->FpuTags = 0;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(0xFF, guest.State->FpuTags);
            Assert.Equal(0x7F, guest.State->Fcw);
        }
        // Two guests in turn on one thread: what one leaves, the other must not find.
        using TranslatedGuest other = Loaded(Program);
        for (int i = 0; i < 2 * TranslatorOptions.WarmAfter; i++)
        {
            guest.State->FpuTags = 0;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(StopReason.Kicked, other.Run());
            AssertFourteen(other);
            Assert.Equal((0x37F, 0x7F), ((int)other.State->Fcw, (int)guest.State->Fcw));
        }
    }
}
