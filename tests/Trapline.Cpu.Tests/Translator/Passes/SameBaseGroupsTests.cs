using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator.Passes;

/// <summary>Which accesses share a probe, and what range it checks.</summary>
public sealed class SameBaseGroupsTests
{
    /// <summary>For each instruction: "low..high" where a group begins, "+" for its members, "" for the rest; a number where the addend goes to memory or comes back.</summary>
    private static string[] Groups(Action<Assembler> program, Action<GuestBlock>? prepare = null)
    {
        GuestBlock block = HandWrittenBlock.Read(a => { program(a); a.@int3(); });
        StackWindows.Run(block);
        prepare?.Invoke(block);
        SameBaseGroups.Run(block);
        return [.. block.Instructions.Take(block.Count - 1).Select(i => (i.GroupBegins ? $"{i.GroupLow}..{i.GroupHigh}" : i.GroupMember ? "+" : "") + (i.AddendSlot == 0 ? "" : $" {i.AddendSlot}"))];
    }

    /// <summary>A window may move where its check stands, which takes RCX, whatever the instruction there does.</summary>
    [Fact]
    public void An_addend_waits_where_a_window_is_checked() =>
        Assert.Equal(["0..24 1", "", "+ 1", "+"], Groups(a =>
        {
            a.mov(rax, __qword_ptr[rdi]);
            a.mov(ecx, 1);
            a.mov(rdx, __qword_ptr[rdi + 8]);
            a.mov(rsi, __qword_ptr[rdi + 16]);
        }, block => block.Instructions[1].WindowBegins = true));

    [Fact]
    public void Fields_of_a_structure_share_a_probe() =>
        Assert.Equal(["-4..32", "+", "", "+"], Groups(a =>
        {
            a.mov(rax, __qword_ptr[rdi + 0x10]);
            a.mov(edx, __dword_ptr[rdi - 4]);
            a.add(rax, rdx);
            a.add(rax, __qword_ptr[rdi + 0x18]);
        }));

    [Fact]
    public void One_access_is_no_group() => Assert.Equal(["", ""], Groups(a => { a.mov(rax, __qword_ptr[rdi]); a.mov(rdx, __qword_ptr[rsi]); }));

    /// <summary>A probe for reading does not allow a store; one for writing allows both.</summary>
    [Fact]
    public void A_store_needs_a_probe_for_writing()
    {
        Assert.Equal(["", ""], Groups(a => { a.mov(rax, __qword_ptr[rdi]); a.mov(__qword_ptr[rdi + 8], rax); }));
        Assert.Equal(["0..16", "+"], Groups(a => { a.mov(__qword_ptr[rdi], rax); a.mov(rax, __qword_ptr[rdi + 8]); }));
    }

    [Fact]
    public void A_changed_base_ends_the_group() =>
        Assert.Equal(["0..16", "+", "", "0..16", "+"], Groups(a =>
        {
            a.mov(rax, __qword_ptr[rdi]);
            a.mov(rdx, __qword_ptr[rdi + 8]);
            a.add(rdi, 16);
            a.mov(rax, __qword_ptr[rdi]);
            a.mov(rdx, __qword_ptr[rdi + 8]);
        }));

    /// <summary>A load into its own base is still a member, but the last.</summary>
    [Fact]
    public void A_load_of_the_base_itself_is_the_last() =>
        Assert.Equal(["0..16", "+", ""], Groups(a => { a.mov(rax, __qword_ptr[rdi]); a.mov(rdi, __qword_ptr[rdi + 8]); a.mov(rdx, __qword_ptr[rdi]); }));

    /// <summary>MUL writes RDX without naming it.</summary>
    [Fact]
    public void Implicit_results_change_the_base_too() =>
        Assert.Equal(["", "", ""], Groups(a => { a.mov(rbx, __qword_ptr[rdx]); a.mul(rbx); a.mov(rbx, __qword_ptr[rdx + 8]); }));

    /// <summary>What needs RCX itself, such as another probe, sends the addend to memory, from where a later member fetches it.</summary>
    [Fact]
    public void The_addend_waits_in_memory_while_rcx_serves_something_else()
    {
        Assert.Equal(["0..16 1", "", "+ 1"], Groups(a => { a.mov(rax, __qword_ptr[rdi]); a.mov(rdx, __qword_ptr[rsi]); a.mov(rbx, __qword_ptr[rdi + 8]); }));
        Assert.Equal(["0..16 1", "", "+ 1"], Groups(a => { a.mov(rax, __qword_ptr[rdi]); a.shl(rax, cl); a.mov(rbx, __qword_ptr[rdi + 8]); }));
        Assert.Equal(["0..16", "", "+"], Groups(a => { a.mov(rax, __qword_ptr[rdi]); a.jz(HandWrittenBlock.At + 0x80); a.mov(rbx, __qword_ptr[rdi + 8]); }));
        Assert.Equal(["0..24 1", "0..16 2", "+ 1", "+", "+ 2"], Groups(a =>
        {
            a.mov(rax, __qword_ptr[rdi]);
            a.mov(rdx, __qword_ptr[rsi]);
            a.mov(rbx, __qword_ptr[rdi + 8]);
            a.mov(rax, __qword_ptr[rdi + 16]);
            a.mov(rdx, __qword_ptr[rsi + 8]);
        }));
    }

    /// <summary>A block has eight places; what comes then probes by itself.</summary>
    [Fact]
    public void When_all_places_are_taken_groups_end_where_rcx_is_needed()
    {
        AssemblerRegister64[] bases = [rax, rdx, rbx, rbp, rsi, rdi, r12, r13, r14];
        string[] groups = Groups(a =>
        {
            foreach (AssemblerRegister64 b in bases)
                a.mov(r15, __qword_ptr[b]);
            foreach (AssemblerRegister64 b in bases)
                a.mov(r15, __qword_ptr[b + 8]);
        });
        Assert.Equal("0..16 8", groups[7]);
        Assert.Equal("", groups[8]);
        Assert.Equal("+ 8", groups[16]);
        Assert.Equal("", groups[17]);
    }

    /// <summary>Instructions whose results Changes does not know end a group: here STOS moves RDI.</summary>
    [Fact]
    public void Hidden_results_end_the_group() =>
        Assert.Equal(["", "", ""], Groups(a => { a.mov(rdx, __qword_ptr[rdi]); a.stosb(); a.mov(rbx, __qword_ptr[rdi + 8]); }));

    /// <summary>Adding with two carries, as big numbers are multiplied: both operands may live in memory, and a probe serves all limbs.</summary>
    [Fact]
    public void Operands_in_memory_do_not_end_the_group() =>
        Assert.Equal(["0..16", "", "+", ""], Groups(a =>
        {
            a.mulx(r8, rax, __qword_ptr[rbp]);
            a.adox(r8, r9);
            a.mulx(r9, rax, __qword_ptr[rbp + 8]);
            a.adcx(r8, rax);
        }));

    /// <summary>A member may be far, but the range stays short.</summary>
    [Fact]
    public void A_field_too_far_away_is_checked_by_itself() =>
        Assert.Equal(["", ""], Groups(a => { a.mov(rax, __qword_ptr[rdi]); a.mov(rdx, __qword_ptr[rdi + 0x200]); }));

    /// <summary>Bases that live in memory, indexes, segments, and operands that must be aligned keep their own probes.</summary>
    [Fact]
    public void Only_plain_accesses_are_grouped()
    {
        Assert.Equal(["", ""], Groups(a => { a.mov(rax, __qword_ptr[r8]); a.mov(rdx, __qword_ptr[r8 + 8]); }));
        Assert.Equal(["", ""], Groups(a => { a.mov(rax, __qword_ptr[rdi + rsi]); a.mov(rdx, __qword_ptr[rdi + rsi + 8]); }));
        Assert.Equal(["", ""], Groups(a => { a.mov(rdx, __qword_ptr.fs[rdi]); a.mov(rdx, __qword_ptr.fs[rdi + 8]); }));
        Assert.Equal(["", ""], Groups(a => { a.movaps(xmm0, __xmmword_ptr[rdi]); a.movaps(xmm1, __xmmword_ptr[rdi + 16]); }));
    }
}
