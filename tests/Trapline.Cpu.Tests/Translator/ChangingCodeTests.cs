using Iced.Intel;
using Trapline.Core;
using Trapline.Cpu.Translator;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Code that changes while its translations run: by itself, by other agents, and by page tables.</summary>
public sealed unsafe class ChangingCodeTests
{
    private const ulong Code = TranslatedGuest.Code, Callee = 0x9000, OtherFrame = 0x40000, OtherRoot = 0x50000;
    private const ulong Present = 3, Global = 0x100, NoFlush = 1ul << 63;

    /// <summary>The store's block is dropped while it runs; what follows must be the new bytes (SDM Vol. 3, 8.1.3: one processor sees its own stores).</summary>
    [TranslatorTheory]
    [InlineData(0x00)]
    [InlineData(0xFFB)] // the changed instruction lies across two pages
    public void Code_may_write_its_own_next_instruction(int within)
    {
        using TranslatedGuest guest = new();
        ulong at = Code + (ulong)within;
        guest.Load(a =>
        {
            a.mov(__byte_ptr[rdi], al);
            a.mov(ebx, 0);
            a.lea(rdx, __[rbx + 1]);
            TranslatedGuest.End(a);
        }, at);
        ulong immediate = 0;
        for (int i = 0; i < 8; i++)
        {
            guest.State->Gpr[7] = TranslatedGuest.Data;
            guest.Warm(at);
            Assert.Equal(immediate, guest.State->Gpr[3]);
            long dropped = guest.Cpu.Translator!.Counters.Dropped;
            int shift = 8 * (i & 3);
            guest.State->Gpr[0] = (ulong)(i + 1);
            guest.State->Gpr[7] = at + 3 + (ulong)(i & 3);
            immediate = immediate & ~(0xFFul << shift) | (ulong)(i + 1) << shift;
            Assert.Equal(StopReason.Kicked, guest.Run(at));
            Assert.Equal(immediate, guest.State->Gpr[3]);
            Assert.Equal(immediate + 1, guest.State->Gpr[2]);
            Assert.True(guest.Cpu.Translator.Counters.Dropped > dropped);
        }
    }

    /// <summary>The loop's constant changes under it until it equals what is waited for: nothing in the loop itself ever leaves.</summary>
    [TranslatorFact]
    public void A_device_may_write_into_running_code()
    {
        using TranslatedGuest guest = new();
        guest.Load(a =>
        {
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.mov(eax, 1);
            a.inc(__qword_ptr[rdi]);
            a.cmp(eax, 7);
            a.jne(again);
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[7] = TranslatedGuest.Data;
        using Watchdog run = new(() => guest.Run());
        run.WaitUntil(() => Volatile.Read(ref *(ulong*)guest.At(TranslatedGuest.Data)) > 100_000);
        Assert.True(guest.Memory.TryWrite(new Gpa(Code + 1), [7]));
        Assert.Equal(StopReason.Kicked, run.Result());
        Assert.Equal(7ul, guest.State->Gpr[0]);
        Assert.NotEqual(0, guest.Cpu.Translator!.Counters.Dropped);
    }

    /// <summary>How the changed page is reached: by each way that remembers where code was.</summary>
    public enum Way
    {
        Call,
        Jump,
        IndirectCall,
        Return,
    }

    private static void Reach(Assembler a, Way way, ulong target)
    {
        Label back = a.CreateLabel();
        switch (way)
        {
            case Way.Call:
                a.call(target);
                return;
            case Way.IndirectCall:
                a.mov(edx, (uint)target);
                a.call(rdx);
                return;
        }
        a.lea(rdx, __[back]);
        a.push(rdx);
        if (way == Way.Jump)
            a.jmp(target);
        a.mov(edx, (uint)target);
        if (way == Way.Return)
        {
            a.push(rdx);
            a.ret();
        }
        a.Label(ref back);
        a.nop();
    }

    private static void Say(TranslatedGuest guest, ulong frame, int what) =>
        guest.Load(TranslatedGuest.Assemble(a => { a.mov(eax, what); a.ret(); }, Callee), frame);

    [TranslatorTheory]
    [CombinatorialWays]
    public void A_page_may_be_mapped_elsewhere_and_flushed(Way way, bool global)
    {
        using TranslatedGuest guest = new(ring: 0, global: global);
        Say(guest, Callee, 1);
        Say(guest, OtherFrame, 2);
        guest.Load(a =>
        {
            a.mov(__qword_ptr[rdi], rsi);
            a.invlpg(__byte_ptr[Callee]);
            Reach(a, way, Callee);
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[7] = 0x23000 + (Callee >> 12) * 8;
        for (int i = 0; i < 6 * TranslatorOptions.WarmAfter; i++)
        {
            bool other = i / 3 % 2 != 0;
            guest.State->Gpr[6] = (other ? OtherFrame : Callee) | Present | (global ? Global : 0);
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(other ? 2ul : 1, guest.State->Gpr[0]);
        }
        Assert.NotEqual(0, guest.Cpu.Translator!.Counters.Translated);
    }

    /// <summary>The kernel's own code is global and the same in both spaces; what it calls is not.</summary>
    [TranslatorTheory]
    [CombinatorialWays]
    public void Another_address_space_holds_other_code(Way way, bool pcid)
    {
        using TranslatedGuest guest = TwoSpaces(ring: 0, pcid);
        guest.Load(a =>
        {
            a.mov(cr3, rsi);
            Reach(a, way, Callee);
            TranslatedGuest.End(a);
        });
        for (int i = 0; i < 6 * TranslatorOptions.WarmAfter; i++)
        {
            bool other = i / 3 % 2 != 0;
            guest.State->Gpr[6] = Root(other, pcid);
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(other ? 2ul : 1, guest.State->Gpr[0]);
        }
    }

    /// <summary>In ring 3 every space has links of its own, also between pages that are not global.</summary>
    [TranslatorTheory]
    [CombinatorialWays]
    public void A_program_never_runs_into_another_spaces_code(Way way, bool pcid)
    {
        using TranslatedGuest guest = TwoSpaces(ring: 3, pcid);
        guest.Load(a => { Reach(a, way, Callee); TranslatedGuest.End(a); });
        for (int i = 0; i < 6 * TranslatorOptions.WarmAfter; i++)
        {
            bool other = i / 3 % 2 != 0;
            guest.State->Cr3 = Root(other, pcid) & ~NoFlush;
            guest.Cpu.Mmu.RootChanged(keep: pcid);
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(other ? 2ul : 1, guest.State->Gpr[0]);
        }
        Assert.NotEqual(0, guest.Cpu.Translator!.Counters.Linked + guest.Cpu.Translator.Counters.JumpMisses);
    }

    private static ulong Root(bool other, bool pcid) => (other ? OtherRoot | (pcid ? 2ul : 0) : 0x20000 | (pcid ? 1ul : 0)) | (pcid ? NoFlush : 0);

    private static TranslatedGuest TwoSpaces(int ring, bool pcid)
    {
        TranslatedGuest guest = new(ring: ring);
        guest.BuildTables(OtherRoot, global: true);
        guest.Entry(Callee) &= ~Global;
        guest.Entry(Callee, OtherRoot) = OtherFrame | 7;
        if (pcid)
        {
            guest.State->Cr4 |= Cr4.Pcide;
            guest.State->Cr3 = Root(false, pcid) & ~NoFlush;
            guest.Cpu.ModeChanged();
        }
        guest.Cpu.Mmu.FlushAll();
        guest.State->Attention = 0;
        Say(guest, Callee, 1);
        Say(guest, OtherFrame, 2);
        return guest;
    }

    private sealed class CombinatorialWaysAttribute : Xunit.Sdk.DataAttribute
    {
        public override IEnumerable<object[]> GetData(System.Reflection.MethodInfo testMethod) =>
            from way in Enum.GetValues<Way>() from second in new[] { false, true } select new object[] { way, second };
    }
}
