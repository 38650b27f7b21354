using System.Numerics;
using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// REP STOS and REP MOVS that stay within a page on each side: by the host's own, on host addresses. Longer ones are the interpreter's, which takes
/// them page by page.
/// </summary>
public sealed unsafe partial class BlockEmitter
{
    private void EmitStringRun(in GuestInstruction i)
    {
        int size = i.Iced.MemorySize.GetSize();
        bool live = !i.FlagsDeadBefore;
        bool moves = i.Iced.Mnemonic is Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq;
        EmitForwardCheck(i);
        // Nothing at all must be touched if there is nothing to do; so long a run is not for us.
        MoveWord(HostRegister.Rcx, HostRegister.GuestRcx);
        nint none = _asm.JumpIfRcxZero();
        nint begin = _asm.Jump();
        _asm.PatchShortHere(none);
        nint done = _asm.Jump();
        _asm.PatchHere(begin);
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip });
        SaveFlags(live);
        _asm.AluImmediate(Alu.Cmp, HostRegister.GuestRcx, 4096 / size, wide: !_code32);
        AddExit(Condition.Above, site, live);
        RestoreFlags(live);
        if (moves)
        {
            ProbeRun(i, HostRegister.Rsi, size, write: false, site);
            _asm.Store(addresses.Held, HostRegister.Rcx);
        }
        ProbeRun(i, HostRegister.Rdi, size, write: true, site);
        _asm.Lea(HostRegister.Rdi, new HostAddress(HostRegister.Rdi, HostRegister.Rcx, 0, 0));
        if (moves)
        {
            _asm.Load(HostRegister.Scratch, addresses.Held);
            _asm.Lea(HostRegister.Rsi, new HostAddress(HostRegister.Rsi, HostRegister.Scratch, 0, 0));
        }
        _asm.Move(HostRegister.Scratch, HostRegister.Rcx);
        _asm.Move(HostRegister.Rcx, HostRegister.GuestRcx);
        if (size == 2)
            _asm.Byte(0x66);
        _asm.Byte(0xF3);
        if (size == 8)
            _asm.Byte(0x48);
        _asm.Byte((moves ? 0xA4 : 0xAA) | (size == 1 ? 0 : 1));
        Subtract(HostRegister.Rdi, HostRegister.Scratch);
        if (moves)
        {
            _asm.Load(HostRegister.Scratch, addresses.Held);
            Subtract(HostRegister.Rsi, HostRegister.Scratch);
        }
        _asm.Constant(HostRegister.GuestRcx, 0);
        _asm.PatchHere(done);
    }

    /// <summary>Probes from a pointer's byte to the run's last: RCX becomes the addend.</summary>
    private void ProbeRun(in GuestInstruction i, int pointer, int size, bool write, int tooLong)
    {
        nint resume = _asm.Here;
        bool live = !i.FlagsDeadBefore;
        _asm.Move(HostRegister.Scratch, pointer);
        ProbeScratch(i.Rip, size, write, live, resume, keep: false);
        SaveFlags(live);
        _asm.Lea(HostRegister.Scratch, new HostAddress(HostRegister.Scratch, HostRegister.GuestRcx, BitOperations.Log2((uint)size), 0));
        _asm.AluImmediate(Alu.Cmp, HostRegister.Scratch, 4096);
        AddExit(Condition.Above, tooLong, live);
        RestoreFlags(live);
    }

    /// <summary>Without touching flags; the other register is lost.</summary>
    private void Subtract(int from, int other)
    {
        _asm.OpRegister(true, 0xF7, 2, other); // NOT
        LeaWord(from, new HostAddress(from, other, 0, 1)); // in 32-bit code it may have come to 4 GiB
    }
}
