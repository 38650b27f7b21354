using Trapline.Cpu.Translator.CodeCache;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Guest code made to lead emitted code astray: the host must not notice, and no ring may reach another's translations.</summary>
public sealed unsafe class HostileCodeTests
{
    /// <summary>48 66 01 C8: the REX does not count, so it is ADD AX, CX. Read as an opcode, 66 would shift what follows.</summary>
    [TranslatorFact]
    public void AStrandedRexDoesNotCount()
    {
        using TranslatedGuest guest = new();
        byte[] end = TranslatedGuest.Assemble(TranslatedGuest.End);
        guest.Load([0x48, 0x66, 0x01, 0xC8, 0x48, 0x41, 0x01, 0xC9, .. end]); // and 49 before 41: ADD R9D, ECX
        for (int i = 0; i < 60; i++)
        {
            guest.State->Gpr[0] = 0xFFFF_FFFF_0000_FFFF;
            guest.State->Gpr[1] = 0x1111_1111_0000_0002;
            guest.State->Gpr[9] = 0xFFFF_FFFF_0000_0001;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(0xFFFF_FFFF_0000_0001, guest.State->Gpr[0]);
            Assert.Equal(3ul, guest.State->Gpr[9]);
        }
    }

    /// <summary>BLSI writes the operand in VEX.vvvv: the push after it is not in the first push's page.</summary>
    [TranslatorFact]
    public void AStackPointerWrittenThroughVexLeavesItsWindow()
    {
        using TranslatedGuest guest = new();
        guest.Load(a =>
        {
            a.push(rbx);
            a.blsi(rsp, rsi);
            a.push(rdi);
            TranslatedGuest.End(a);
        });
        for (int i = 0; i < 60; i++)
        {
            *(ulong*)guest.At(TranslatedGuest.Data - 8) = 0;
            guest.State->Gpr[6] = TranslatedGuest.Data;
            guest.State->Gpr[7] = (ulong)(i + 1);
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal((ulong)(i + 1), *(ulong*)guest.At(TranslatedGuest.Data - 8));
        }
    }

    /// <summary>A jump-cache key is the sum of an address and its scope's number: an address that is not canonical must not make up the difference.</summary>
    [TranslatorFact]
    public void NoAddressReachesAnotherScopesCode()
    {
        using TranslatedGuest guest = new(ring: 0);
        const ulong Target = TranslatedGuest.Code + 0x800;
        guest.Load(a => { a.jmp(rax); });
        guest.Load(a => { a.inc(rbx); TranslatedGuest.End(a); }, Target);
        guest.State->Gpr[0] = Target;
        guest.Warm();
        Assert.True(guest.Cpu.Translator!.Counters.JumpMisses > 0);
        guest.Ring(3);
        guest.State->Gpr[0] = Target;
        guest.Warm();
        ulong counted = guest.State->Gpr[3];
        for (ulong distance = 1; distance < 8; distance++)
            foreach (ulong address in new[] { Target + (distance << 48), Target - (distance << 48) })
            {
                using TranslatedGuest other = Twin(Target);
                other.State->Gpr[0] = address;
                ulong before = other.State->Gpr[3];
                Assert.Equal(StopReason.TripleFault, other.Run());
                Assert.Equal(before, other.State->Gpr[3]);
                Assert.Equal(TranslatedGuest.Code, other.State->Rip); // #GP at the jump itself
            }
        Assert.True(counted > 0);
    }

    /// <summary>The same two scopes again: ring 0 and ring 3, each with its translation of the target.</summary>
    private static TranslatedGuest Twin(ulong target)
    {
        TranslatedGuest guest = new(ring: 0);
        guest.Load(a => { a.jmp(rax); });
        guest.Load(a => { a.inc(rbx); TranslatedGuest.End(a); }, target);
        guest.State->Gpr[0] = target;
        guest.Warm();
        guest.Ring(3);
        guest.Warm();
        return guest;
    }

    /// <summary>A return to such an address is undone and faults at the RET.</summary>
    [TranslatorFact]
    public void AReturnToNowhereFaultsAtTheReturn()
    {
        using TranslatedGuest guest = new();
        guest.Load(a => { a.push(rax); a.ret(); });
        guest.Load(TranslatedGuest.End, TranslatedGuest.Code + 0x100);
        guest.State->Gpr[0] = TranslatedGuest.Code + 0x100;
        guest.Warm();
        guest.State->Gpr[0] = 1ul << 48;
        Assert.Equal(StopReason.TripleFault, guest.Run());
        Assert.Equal(TranslatedGuest.Code + 1, guest.State->Rip);
        Assert.Equal(TranslatedGuest.Stack - 8, guest.State->Gpr[4]);
    }

    /// <summary>
    /// A block of one jump is shorter than the exit that replaces its entry when it is dropped: dropping the jump's target later must not rewrite
    /// the exit as if it were still the jump.
    /// </summary>
    [TranslatorFact]
    public void ADroppedBlockIsNotLinkedAnyMore()
    {
        using TranslatedGuest guest = new();
        const ulong Hop = TranslatedGuest.Code + 0x100, End = TranslatedGuest.Code + 0x200;
        byte[] jump = TranslatedGuest.Assemble(a => a.jmp(End), Hop);
        byte[] end = TranslatedGuest.Assemble(a => { a.inc(rbx); TranslatedGuest.End(a); }, End);
        guest.Load(a => { a.mov(eax, (int)Hop); a.jmp(rax); });
        guest.Load(jump, Hop);
        guest.Load(end, End);
        guest.Warm();
        guest.Load(jump, Hop);
        guest.Load(end, End);
        long dropped = guest.Cpu.Translator!.Counters.Dropped;
        ulong before = guest.State->Gpr[3];
        for (int i = 0; i < 5; i++)
            Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Equal(before + 5, guest.State->Gpr[3]);
        Assert.True(dropped >= 2);
    }

    /// <summary>Code in its own page table: the walk that fills the TLB for its second instruction sets a bit in it and drops it.</summary>
    [TranslatorFact]
    public void AWalkMayDropTheBlockThatCausedIt()
    {
        using TranslatedGuest guest = new(global: false);
        // The entry of Data's page is also code: 0x10007 is ADD [RAX..]; so lay the code around it, and jump over its bytes.
        ulong entry = 0x23000 + (TranslatedGuest.Data >> 12) * 8;
        ulong start = entry - 16;
        byte[] code = TranslatedGuest.Assemble(a => { a.inc(ebx); a.mov(rcx, __[rdx]); a.test(ecx, ecx); a.jnz(entry + 8); }, start);
        Assert.InRange(code.Length, 1, 16);
        guest.Load(code.AsSpan(), start);
        guest.Load(new byte[16 - code.Length].Select(_ => (byte)0x90).ToArray(), start + (ulong)code.Length);
        guest.Load(TranslatedGuest.End, entry + 8);
        *(ulong*)guest.At(TranslatedGuest.Data) = 1;
        guest.State->Gpr[2] = TranslatedGuest.Data;
        for (int i = 0; i < 200; i++)
        {
            ulong before = guest.State->Gpr[3];
            *(ulong*)guest.At(entry) &= ~0x60ul; // not accessed, not dirty
            guest.Cpu.Mmu.FlushPage(TranslatedGuest.Data);
            Assert.Equal(StopReason.Kicked, guest.Run(start));
            Assert.Equal(before + 1, guest.State->Gpr[3]);
            Assert.Equal(0x20ul, *(ulong*)guest.At(entry) & 0x60);
        }
    }

    /// <summary>No RSP that a guest can think of passes the check of a closed window.</summary>
    [TranslatorFact]
    public void AStackPointerCannotNameTheClosedWindow()
    {
        using TranslatedGuest guest = new();
        guest.Load(a => { a.mov(rsp, rax); a.pop(rbx); TranslatedGuest.End(a); });
        guest.State->Gpr[0] = TranslatedGuest.Data;
        guest.Warm();
        guest.Cpu.Mmu.FlushAll();
        guest.State->Gpr[0] = 0x4000_0000_0000_0000;
        Assert.Equal(StopReason.TripleFault, guest.Run());
    }

    /// <summary>A model without an instruction set raises #UD, whatever the host has.</summary>
    [TranslatorFact]
    public void TheModelDecidesWhatIsUndefined()
    {
        CpuModel? model = CpuModel.Parse("max,-bmi2", out string message);
        Assert.True(model != null, message);
        using TranslatedGuest guest = new(model: model);
        guest.Load(a =>
        {
            Iced.Intel.Label skip = a.CreateLabel();
            a.inc(ebx);
            a.test(eax, eax);
            a.jz(skip);
            a.rorx(ecx, ecx, 3);
            a.Label(ref skip);
            TranslatedGuest.End(a);
        });
        guest.State->Gpr[0] = 0;
        guest.Warm();
        guest.State->Gpr[0] = 1;
        Assert.Equal(StopReason.TripleFault, guest.Run());
    }

    [TranslatorFact]
    public void LinkNumbersNeverComeTwice()
    {
        LinkScopes scopes = new();
        HashSet<uint> seen = [];
        for (ulong tag = 0; tag < 70_000; tag++)
        {
            uint id = scopes.IdOf((uint)Mmu.SoftTlb.User << Interpreter.BlockMode.ContextShift, tag);
            Assert.True(id == LinkScopes.NoLinks ? scopes.Exhausted : seen.Add(id));
        }
        Assert.True(scopes.Exhausted);
        scopes.Restart();
        Assert.False(scopes.Exhausted);
    }
}
