using Iced.Intel;
using Trapline.Core;
using Trapline.Cpu.Translator;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Indirect jumps and calls that keep their last target: right whatever they are asked for next.</summary>
public sealed unsafe class InlineCacheTests
{
    private const ulong First = 0x9000, Spacing = 0x40;

    /// <summary>Goes <paramref name="rounds"/> times through a table of targets that each add their number to RBX and the carry that they were given to R8.</summary>
    private static void Load(TranslatedGuest guest, bool call, int targets)
    {
        guest.Load(a =>
        {
            Label again = a.CreateLabel(), back = a.CreateLabel();
            a.xor(ebx, ebx);
            a.xor(r8d, r8d);
            a.Label(ref again);
            a.mov(eax, edi);
            a.xor(edx, edx);
            a.mov(ecx, targets);
            a.div(ecx);
            a.shl(edx, 6);
            a.add(edx, (int)First);
            a.lea(r9, __[back]);
            a.bt(edi, 0);
            if (call)
                a.call(rdx);
            else
                a.jmp(rdx);
            a.Label(ref back);
            a.dec(edi);
            a.jne(again);
            TranslatedGuest.End(a);
        });
        for (int i = 0; i < targets; i++)
            Say(guest, call, i, i + 1);
    }

    private static void Say(TranslatedGuest guest, bool call, int target, int number) => guest.Load(a =>
    {
        a.adc(r8d, 0);
        a.lea(rbx, __[rbx + number]);
        if (call)
            a.ret();
        else
            a.jmp(r9);
    }, First + (ulong)target * Spacing);

    private static void Run(TranslatedGuest guest, int rounds, ulong sum)
    {
        guest.State->Gpr[7] = (ulong)rounds;
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal(sum, guest.State->Gpr[3]);
        Assert.Equal((ulong)rounds / 2, guest.State->Gpr[8]);
    }

    [TranslatorTheory]
    [InlineData(false)]
    [InlineData(true)]
    public void One_target_is_kept_until_its_code_changes(bool call)
    {
        using TranslatedGuest guest = new();
        Load(guest, call, targets: 1);
        Run(guest, 1000, 1000);
        ref TranslatorCounters counters = ref guest.Cpu.Translator!.Counters;
        Assert.NotEqual(0, counters.InlineLinks);
        Assert.Equal(0, counters.InlineGivenUp);
        Say(guest, call, 0, 5);
        Run(guest, 1000, 5000);
        Assert.NotEqual(0, counters.Dropped);
    }

    [TranslatorTheory]
    [InlineData(false, 2, 0)]
    [InlineData(true, 3, 0)]
    [InlineData(false, 40, 1)]
    [InlineData(true, 40, 1)]
    public void Of_many_targets_each_is_reached(bool call, int targets, int givenUp)
    {
        using TranslatedGuest guest = new();
        Load(guest, call, targets);
        Run(guest, 100 * targets, 100ul * (ulong)(targets * (targets + 1) / 2));
        Assert.Equal(givenUp, guest.Cpu.Translator!.Counters.InlineGivenUp);
        Assert.NotEqual(0, guest.Cpu.Translator!.Counters.InlineLinks);
    }
}
