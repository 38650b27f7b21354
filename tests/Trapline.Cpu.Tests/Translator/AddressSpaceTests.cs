using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>What translated code reads after address spaces, pages and rights changed: soft TLBs are kept for each space, and must not outlive that.</summary>
public sealed unsafe class AddressSpaceTests
{
    private const ulong Page = TranslatedGuest.Data, First = 0x60000, Second = 0x61000, OtherTables = 0x50000, Tables = 0x20000;

    /// <summary>Ring 0 code that reads the page in two address spaces by turns, 500 times, with other pages of the same slot in between.</summary>
    private static TranslatedGuest TwoSpaces(bool pcids, bool global)
    {
        TranslatedGuest guest = new(ring: 0, global: global);
        guest.BuildTables(OtherTables, global);
        guest.Entry(Page) = First | 7;
        guest.Entry(Page, OtherTables) = Second | 7;
        *(ulong*)guest.At(First) = 1;
        *(ulong*)guest.At(Second) = 100;
        if (pcids)
            guest.State->Cr4 |= Cr4.Pcide;
        ulong keep = pcids ? 1ul << 63 : 0;
        guest.Load(a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.mov(rdi, Page);
            a.mov(r14, keep | Tables | (pcids ? 1u : 0));
            a.mov(r15, keep | OtherTables | (pcids ? 2u : 0));
            a.mov(ecx, 500);
            a.xor(eax, eax);
            a.Label(ref again);
            a.mov(cr3, r14);
            a.add(rax, __qword_ptr[rdi]);
            a.mov(cr3, r15);
            a.add(rax, __qword_ptr[rdi]);
            a.dec(ecx);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        return guest;
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Each_space_reads_its_own_page(bool pcids, bool global)
    {
        using TranslatedGuest guest = TwoSpaces(pcids, global);
        guest.Warm();
        Assert.Equal(500 * 101ul, guest.State->Gpr[0]);
    }

    /// <summary>With PCIDs what a space knew is there when it comes back: two exits a turn are gone.</summary>
    [Fact]
    public void A_space_that_comes_back_does_not_start_cold()
    {
        using TranslatedGuest guest = TwoSpaces(pcids: true, global: true);
        guest.Warm();
        long before = guest.Cpu.Translator!.Counters.ReadMisses;
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.InRange(guest.Cpu.Translator.Counters.ReadMisses - before, 0, 50);
    }

    /// <summary>The processor's own accesses are not excused from SMAP by AC (SDM Vol. 3, 4.6), even where the kernel's of the same page just were.</summary>
    [TranslatorTheory]
    [InlineData(false, StopReason.Kicked)]
    [InlineData(true, StopReason.TripleFault)]
    public void A_descriptor_in_a_user_page_is_not_read_under_smap(bool smap, StopReason ends)
    {
        using TranslatedGuest guest = new(ring: 0);
        (guest.State->GdtrBase, guest.State->GdtrLimit) = (Page, 15);
        *(ulong*)guest.At(Page + 8) = 0x00CF_9300_0000_FFFF; // data, ring 0, accessed
        guest.Load(a =>
        {
            a.stac();
            a.mov(rax, __qword_ptr[Page + 8]);
            a.add(rax, __qword_ptr[Page + 8]);
            a.mov(ecx, 8);
            a.mov(es, ecx);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        if (smap)
            guest.State->Cr4 |= Cr4.Smap;
        guest.State->RFlags |= Rflags.Ac; // the stack is a user page, too
        guest.Cpu.Mmu.RightsChanged();
        guest.Cpu.ModeChanged();
        Assert.Equal(ends, guest.Run());
        Assert.Equal(2 * 0x00CF_9300_0000_FFFFul, guest.State->Gpr[0]);
    }

    /// <summary>A descriptor is read once more after its page has changed and was flushed.</summary>
    [TranslatorFact]
    public void A_descriptor_is_read_from_where_its_page_is_now()
    {
        using TranslatedGuest guest = new(ring: 0);
        (guest.State->GdtrBase, guest.State->GdtrLimit) = (Page, 15);
        guest.Entry(Page) = First | 7;
        *(ulong*)guest.At(First + 8) = 0x00CF_9311_0000_FFFF; // base 0x110000
        *(ulong*)guest.At(Second + 8) = 0x00CF_9322_0000_FFFF;
        guest.Load(a =>
        {
            a.mov(ecx, 8);
            a.mov(fs, ecx);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        Assert.Equal(0x11_0000ul, guest.State->Fs.Base);
        guest.Entry(Page) = Second | 7;
        guest.Cpu.Mmu.FlushPage(Page);
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal(0x22_0000ul, guest.State->Fs.Base);
    }

    /// <summary>INVLPG takes a changed page out of every level, whether it was global or not.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_flushed_page_is_read_anew(bool global)
    {
        using TranslatedGuest guest = new(ring: 0, global: global);
        guest.Entry(Page) = First | 7 | (global ? 0x100u : 0);
        *(ulong*)guest.At(First) = 1;
        *(ulong*)guest.At(Second) = 100;
        guest.Load(a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.mov(rdi, Page);
            a.mov(rsi, Tables + 0x3000 + Page / 4096 * 8);
            a.mov(ecx, 500);
            a.xor(eax, eax);
            a.Label(ref again);
            a.add(rax, __qword_ptr[rdi]);
            a.xor(__qword_ptr[rsi], (int)(First ^ Second));
            a.invlpg(__byte_ptr[rdi]);
            a.dec(ecx);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        Assert.Equal(250 * 101ul, guest.State->Gpr[0]);
    }

    /// <summary>Two pages share a slot of the first level: each access finds its page again without leaving.</summary>
    [Fact]
    public void Pages_that_share_a_slot_are_refilled_without_leaving()
    {
        using TranslatedGuest guest = new();
        const ulong far = 1ul << 30; // the same slot
        guest.Map(far + Page, First);
        *(ulong*)guest.At(First) = 5;
        *(ulong*)guest.At(Page) = 2;
        guest.Load(a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.mov(rdi, Page);
            a.mov(rsi, far + Page);
            a.mov(ecx, 500);
            a.xor(eax, eax);
            a.Label(ref again);
            a.add(rax, __qword_ptr[rdi]);
            a.add(rax, __qword_ptr[rsi]);
            a.mov(__qword_ptr[rsi + 8], rax);
            a.mov(__qword_ptr[rdi + 8], rax);
            a.dec(ecx);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        long before = guest.Cpu.Translator!.Counters.ReadMisses + guest.Cpu.Translator.Counters.WriteMisses;
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal(500 * 7ul, guest.State->Gpr[0]);
        Assert.InRange(guest.Cpu.Translator.Counters.ReadMisses + guest.Cpu.Translator.Counters.WriteMisses - before, 0, 50);
    }

    /// <summary>A page that became code since its write entry was made: the store must be seen.</summary>
    [Fact]
    public void A_refill_never_hides_a_store_to_code()
    {
        using TranslatedGuest guest = new();
        const ulong routine = TranslatedGuest.Data, far = 1ul << 30;
        guest.Map(far + routine, First); // takes the slot of the routine's page
        guest.Load(a => { a.mov(eax, 1); a.ret(); }, routine);
        guest.Load(a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.mov(rdi, routine);
            a.mov(rsi, far + routine);
            a.mov(ecx, 100);
            a.xor(ebx, ebx);
            a.Label(ref again);
            a.mov(__byte_ptr[rdi + 1], cl); // the constant that the routine returns
            a.mov(__qword_ptr[rsi], rcx);
            a.mov(rdx, rdi);
            a.call(rdx);
            a.add(rbx, rax);
            a.dec(ecx);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        Assert.Equal(5050ul, guest.State->Gpr[3]);
    }

    /// <summary>An address that is not canonical selects the entry of one that is: it must fault, not hit.</summary>
    [Fact]
    public void An_address_that_is_not_canonical_is_not_refilled()
    {
        using TranslatedGuest guest = new();
        guest.Load(a =>
        {
            a.mov(rax, __qword_ptr[rdi]);
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[7] = Page;
        guest.Warm();
        guest.State->Gpr[7] = Page | 1ul << 52;
        Assert.Equal(StopReason.TripleFault, guest.Run());
    }
}
