using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>A stack window that closes while translated code is out for a soft-TLB miss: the accesses that follow must not trust it.</summary>
public sealed unsafe class StackWindowSafetyTests
{
    /// <summary>Walks through more large pages than the TLB holds: each miss evicts one, which flushes what was derived from it, the window too.</summary>
    [Theory]
    [InlineData(0)] // as compilers do it: RSP within its page
    [InlineData(8)] // what lies at RSP - 8, where a window is opened anew, is in another page than the frame
    public void A_window_closed_in_a_miss_is_not_used(int fromBorder)
    {
        const ulong gigabyte = 1ul << 30, largePage = 2ul << 20, present = 7, large = 0x80;
        using TranslatedGuest guest = new();
        guest.Map(gigabyte, 0);
        ulong directory = *(ulong*)guest.At(0x21008) & ~0xFFFul;
        for (ulong n = 0; n < 512; n++)
            *(ulong*)guest.At(directory + n * 8) = largePage | present | large;
        *(ulong*)guest.At(largePage) = 5;
        guest.Load(a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.mov(rsp, TranslatedGuest.Data + 0x1000 + (ulong)fromBorder);
            a.mov(rdi, gigabyte);
            a.mov(ecx, 512);
            a.xor(ebx, ebx);
            a.Label(ref again);
            a.mov(__qword_ptr[rsp + 0x10], rdi);
            a.add(rbx, __qword_ptr[rdi]);
            a.mov(rdx, __qword_ptr[rsp + 0x10]);
            a.sub(rdx, rdi);
            a.add(rbx, rdx);
            a.add(rdi, (int)largePage);
            a.dec(ecx);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        Assert.Equal(512 * 5ul, guest.State->Gpr[3]);
    }
}
