using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>String instructions that are not repeated: a move or comparison, and a step of the pointers.</summary>
public sealed unsafe partial class BlockEmitter
{
    private void EmitStringStep(in GuestInstruction i)
    {
        const int Load = 0x8A, Store = 0x88, Compare = 0x3A;
        int size = i.Iced.MemorySize.GetSize();
        EmitForwardCheck(i);
        bool source = false, destination = false;
        switch (i.Iced.Mnemonic)
        {
            case Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq:
                source = true;
                EmitSized(Load, size, HostRegister.Rax, ProbePointer(i, HostRegister.Rsi, size, write: false));
                break;
            case Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq:
                destination = true;
                EmitSized(Store, size, HostRegister.Rax, ProbePointer(i, HostRegister.Rdi, size, write: true));
                break;
            case Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq:
                destination = true;
                EmitSized(Compare, size, HostRegister.Rax, ProbePointer(i, HostRegister.Rdi, size, write: false));
                break;
            default:
                bool move = i.Iced.Mnemonic is Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq;
                source = destination = true;
                EmitSized(Load, size, HostRegister.Scratch, ProbePointer(i, HostRegister.Rsi, size, write: false));
                _asm.Store(addresses.Held, HostRegister.Scratch); // the other probe takes r14
                HostAddress to = ProbePointer(i, HostRegister.Rdi, size, write: move);
                _asm.Load(HostRegister.Scratch, addresses.Held);
                EmitSized(move ? Store : Compare, size, HostRegister.Scratch, to);
                break;
        }
        if (source)
            LeaWord(HostRegister.Rsi, HostAddress.At(HostRegister.Rsi, size));
        if (destination)
            LeaWord(HostRegister.Rdi, HostAddress.At(HostRegister.Rdi, size));
    }

    /// <summary>DF is set hardly ever: the interpreter's.</summary>
    private void EmitForwardCheck(in GuestInstruction i)
    {
        bool save = !i.FlagsDeadBefore;
        SaveFlags(save);
        _asm.OpMemory(false, 0xF6, 0, addresses.RFlags with { Disp = addresses.RFlags.Disp + 1 }); // TEST
        _asm.Byte((byte)(Rflags.Df >> 8));
        AddExit(Condition.NotEqual, AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip }), save);
        RestoreFlags(save);
    }

    /// <summary>The operand at a pointer register that is at home in a register.</summary>
    private HostAddress ProbePointer(in GuestInstruction i, int home, int size, bool write)
    {
        nint resume = _asm.Here;
        _asm.Move(HostRegister.Scratch, home);
        ProbeScratch(i.Rip, size, write, !i.FlagsDeadBefore, resume, keep: false);
        return new HostAddress(home, HostRegister.Rcx, 0, 0);
    }

    /// <param name="opcode">For bytes; the next one is for other sizes.</param>
    private void EmitSized(int opcode, int size, int register, in HostAddress operand)
    {
        if (size == 2)
            _asm.Byte(0x66);
        _asm.OpMemory(size == 8, size == 1 ? opcode : opcode + 1, register, operand);
    }
}
