using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>PUSH, POP, LEAVE, PUSHF: through the stack window, or by a probe in translations made without windows.</summary>
public sealed unsafe partial class BlockEmitter
{
    private const int Rsp = HostRegister.GuestRsp;

    /// <summary>The stack slot at RSP + <paramref name="at"/>. RCX is taken if there is no window; r14 only during the probe.</summary>
    private HostAddress StackSlot(in GuestInstruction i, int at, bool write)
    {
        if (i.InWindow)
            return new HostAddress(Rsp, HostRegister.Window, 0, at);
        nint resume = _asm.Here;
        LeaWord(HostRegister.Scratch, HostAddress.At(Rsp, at));
        ProbeScratch(i.Rip, Word, write, !i.FlagsDeadBefore, resume, keep: false);
        if (_code32)
            return StackSlot32(at);
        return new HostAddress(Rsp, HostRegister.Rcx, 0, at);
    }

    private void MoveRsp(int by) => LeaWord(Rsp, HostAddress.At(Rsp, by));

    private void EmitPush(in GuestInstruction i)
    {
        ref readonly Instruction instruction = ref i.Iced;
        if (instruction.Op0Kind == OpKind.Memory)
        {
            // The value waits in r14, or in the frame while r14 probes the slot.
            LoadWord(HostRegister.Scratch, Probe(i, Word, write: false));
            if (!i.InWindow)
                _asm.Store(addresses.Held, HostRegister.Scratch);
            HostAddress place = StackSlot(i, -Word, write: true);
            if (!i.InWindow)
                _asm.Load(HostRegister.Scratch, addresses.Held);
            StoreWord(place, HostRegister.Scratch);
            MoveRsp(-Word);
            return;
        }
        HostAddress slot = StackSlot(i, -Word, write: true);
        if (instruction.Op0Kind == OpKind.Register)
            StoreWord(slot, Operand(instruction.Op0Register, HostRegister.Scratch));
        else
            _asm.StoreImmediate(slot, (int)instruction.GetImmediate(0), wide: !_code32);
        MoveRsp(-Word);
    }

    private void EmitPop(in GuestInstruction i)
    {
        HostAddress slot = StackSlot(i, 0, write: false);
        int guest = i.Iced.Op0Register.GetNumber(), home = HostRegister.Of(guest);
        if (home == Rsp)
        {
            LoadWord(Rsp, slot);
            return;
        }
        int to = home == HostRegister.None ? HostRegister.Scratch : home;
        LoadWord(to, slot);
        if (home == HostRegister.None)
            _asm.Store(Slot(guest), to);
        MoveRsp(Word);
    }

    /// <summary>LEAVE: RSP := RBP, then pop RBP. Probed by itself: it begins a frame of its own.</summary>
    private void EmitLeave(in GuestInstruction i)
    {
        nint resume = _asm.Here;
        _asm.Move(HostRegister.Scratch, HostRegister.Rbp);
        ProbeScratch(i.Rip, Word, write: false, !i.FlagsDeadBefore, resume, keep: false);
        LeaWord(Rsp, HostAddress.At(HostRegister.Rbp, Word));
        LoadWord(HostRegister.Rbp, new HostAddress(HostRegister.Rbp, HostRegister.Rcx, 0, 0));
    }

    private void EmitPushFlags(in GuestInstruction i)
    {
        HostAddress slot = StackSlot(i, -Word, write: true);
        bool save = i.LiveAfter != 0;
        _asm.Byte(0x9C); // PUSHFQ, on the host's stack
        _asm.Pop(HostRegister.Scratch);
        SaveFlags(save);
        _asm.AluImmediate(Alu.And, HostRegister.Scratch, (int)Rflags.Arithmetic, wide: false);
        _asm.AluMemory(Alu.Or, HostRegister.Scratch, addresses.RFlags);
        _asm.AluImmediate(Alu.And, HostRegister.Scratch, ~(int)(Rflags.Rf | Rflags.Vm), wide: false); // never in the image (SDM Vol. 2, PUSHF)
        RestoreFlags(save);
        StoreWord(slot, HostRegister.Scratch);
        MoveRsp(-Word);
    }
}
