using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.Emit;
using Trapline.Memory;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>A miss of the soft TLB that <see cref="SpaceTlb"/> can mend: the first level is refilled and the access tried again, without leaving.</summary>
public sealed unsafe partial class Stubs
{
    private readonly nint[] _refills = new nint[SoftTlb.Contexts * 4];

    /// <summary>
    /// Called with the missed address in r14 and, if <paramref name="saved"/>, flags in AX and RAX aside. Returns with both restored after a refill: the
    /// caller's next five bytes jump back to the access. After those come a site, to leave by if there is nothing to refill from, and 4,096 minus the
    /// access's size, beyond which it crosses into another page.
    /// </summary>
    public nint Refill(int context, bool write, bool saved) => _refills[context * 4 + (write ? 2 : 0) + (saved ? 1 : 0)];

    public bool IsRefill(nint stub) => Array.IndexOf(_refills, stub) >= 0;

    private const int LimitAfterCall = SiteAfterCall + 4;

    private void EmitRefills(ref Assembler asm)
    {
        for (int n = 0; n < _refills.Length; n++)
        {
            asm.Align(16);
            _refills[n] = asm.Here;
            EmitRefill(ref asm, n >> 2, write: (n & 2) != 0, saved: (n & 1) != 0);
        }
    }

    private void EmitRefill(ref Assembler asm, int context, bool write, bool saved)
    {
        const int page = HostRegister.Rcx, other = HostRegister.Scratch;
        int tags = _a.TlbTags(context, write), table = _a.SpaceTable(write);
        asm.Store(_a.ExitAddress, HostRegister.Scratch);
        asm.AluImmediate(Alu.And, other, 0xFFF, wide: false);
        asm.Load(page, HostAddress.At(HostRegister.Rsp));
        asm.AluMemory(Alu.Cmp, other, HostAddress.At(page, LimitAfterCall), wide: false);
        nint crosses = asm.Jump(Condition.Above);

        // The entry: does it hold this page of this space?
        LoadMissedPage(ref asm, page);
        asm.Move(other, page);
        asm.OpRegister(true, 0xC1, 5, other); // SHR: which half
        asm.Byte(63);
        asm.AluMemory(Alu.Or, page, new HostAddress(HostRegister.None, other, 3, _a.Space.Disp));
        asm.RotateRight32(other, page, 12);
        asm.OpRegister(false, 0x69, other, other); // IMUL
        asm.Int32(unchecked((int)SpaceTlb.Spread));
        asm.OpRegister(false, 0xC1, 5, other); // SHR, and times sixteen
        asm.Byte(32 - SpaceTlb.IndexBits - 4);
        asm.AluImmediate(Alu.And, other, -16, wide: false);
        asm.AluMemory(Alu.Cmp, page, HostAddress.At(other, table));
        nint unknown = asm.Jump(Condition.NotEqual);
        asm.Load(other, HostAddress.At(other, table + 8));
        nint isCode = write ? EmitCodeCheck(ref asm) : 0;

        asm.Load32(page, _a.ExitAddress);
        asm.RotateRight32(page, page, 12);
        asm.AluImmediate(Alu.And, page, (int)SoftTlb.IndexMask, wide: false);
        asm.Store(new HostAddress(HostRegister.None, page, 3, tags + SoftTlb.Entries * 8), other);
        LoadMissedPage(ref asm, other);
        asm.Store(new HostAddress(HostRegister.None, page, 3, tags), other);
        RestoreFlags(ref asm, saved);
        asm.Byte(0xC3);

        asm.PatchHere(crosses);
        asm.PatchHere(unknown);
        if (write)
            asm.PatchHere(isCode);
        RestoreFlags(ref asm, saved);
        EmitLeaveBySite(ref asm);
    }

    private void LoadMissedPage(ref Assembler asm, int register)
    {
        asm.Load(register, _a.ExitAddress);
        asm.AluImmediate(Alu.And, register, -4096);
    }

    /// <summary>A jump if code was taken from the page since the entry was made; r14 is its addend. RCX goes.</summary>
    private nint EmitCodeCheck(ref Assembler asm)
    {
        LoadMissedPage(ref asm, HostRegister.Rcx);
        asm.AluRegisters(Alu.Add, HostRegister.Rcx, HostRegister.Scratch);
        asm.AluMemory(Alu.Sub, HostRegister.Rcx, _a.Backing);
        asm.OpRegister(true, 0xC1, 5, HostRegister.Rcx); // SHR
        asm.Byte(GuestMemory.PageShift);
        asm.AluMemory(Alu.Add, HostRegister.Rcx, _a.Marks);
        asm.OpMemory(false, 0xF6, 0, HostAddress.At(HostRegister.Rcx)); // TEST byte
        asm.Byte((int)PageMarks.Code);
        return asm.Jump(Condition.NotEqual);
    }

    private void RestoreFlags(ref Assembler asm, bool saved)
    {
        if (!saved)
            return;
        asm.FlagsFromAx();
        asm.Load(HostRegister.Rax, _a.Spill);
    }
}
