using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Checks that cover several accesses and meet the border of two pages: code goes on where each access is checked by itself.</summary>
public sealed unsafe class StraddleTests
{
    private const ulong Border = TranslatedGuest.Data + 0x1000;

    /// <summary>Sums two fields of a structure and two of another that lies elsewhere, many times.</summary>
    private static TranslatedGuest Structures()
    {
        TranslatedGuest guest = new();
        guest.Load(a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.mov(rdi, Border - 8);
            a.mov(rsi, TranslatedGuest.Data);
            a.mov(ecx, 500);
            a.xor(eax, eax);
            a.Label(ref again);
            a.add(rax, __qword_ptr[rdi]);
            a.add(rax, __qword_ptr[rsi]);
            a.add(rax, __qword_ptr[rdi + 8]);
            a.add(rax, __qword_ptr[rsi + 8]);
            a.dec(ecx);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        *(ulong*)guest.At(Border - 8) = 1;
        *(ulong*)guest.At(Border) = 10;
        *(ulong*)guest.At(TranslatedGuest.Data) = 100;
        *(ulong*)guest.At(TranslatedGuest.Data + 8) = 1000;
        return guest;
    }

    [Fact]
    public void A_structure_in_two_pages_leaves_once_and_is_linked()
    {
        using TranslatedGuest guest = Structures();
        guest.Warm();
        Assert.Equal(500 * 1111ul, guest.State->Gpr[0]);
        Assert.InRange(guest.Cpu.Translator!.Counters.Straddles, 1, 4); // once for each block that it begins in
    }

    /// <summary>The jump to the other translation must go when that translation's code changes.</summary>
    [Fact]
    public void Changed_code_is_seen_beyond_the_border()
    {
        using TranslatedGuest guest = Structures();
        guest.Warm();
        byte[] code = new byte[64];
        new ReadOnlySpan<byte>(guest.At(TranslatedGuest.Code), 64).CopyTo(code);
        int at = code.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x48, 0x03, 0x47, 0x08]); // add rax, [rdi + 8]
        guest.Load([0x48, 0x2B, 0x47, 0x08], TranslatedGuest.Code + (ulong)at); // sub rax, [rdi + 8]
        guest.Warm();
        Assert.Equal(500 * 1091ul, guest.State->Gpr[0]);
    }

    [Fact]
    public void A_stack_frame_in_two_pages_leaves_once_and_is_linked()
    {
        using TranslatedGuest guest = new();
        guest.Load(a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.mov(rsp, Border + 8);
            a.mov(ecx, 500);
            a.xor(eax, eax);
            a.Label(ref again);
            a.push(1);
            a.push(10);
            a.add(rax, __qword_ptr[rsp + 8]);
            a.add(rax, __qword_ptr[rsp]);
            a.add(rsp, 16);
            a.dec(ecx);
            a.jnz(again);
            TranslatedGuest.End(a);
        });
        guest.Warm();
        Assert.Equal(500 * 11ul, guest.State->Gpr[0]);
        Assert.InRange(guest.Cpu.Translator!.Counters.Straddles, 1, 4); // once for each block that it begins in
    }

    /// <summary>The second page is not there: the fault comes at its own access, with what the first one read.</summary>
    [Fact]
    public void A_fault_beyond_the_border_is_precise()
    {
        using TranslatedGuest guest = Structures();
        guest.Warm();
        guest.Entry(Border) = 0;
        guest.Cpu.Mmu.FlushAll();
        Assert.Equal(X86.StopReason.TripleFault, guest.Run());
        Assert.Equal(101ul, guest.State->Gpr[0]);
        Assert.Equal(Border, guest.State->Cr2);
    }
}
