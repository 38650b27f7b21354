using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>Instructions with a shape of their own.</summary>
public sealed unsafe partial class BlockEmitter
{
    private void EmitLoadConstant(in GuestInstruction i)
    {
        if (i.Iced.Op0Register.GetSize() < 4)
        {
            EmitLoadPart(i);
            return;
        }
        ulong value = i.Iced.Code == Code.Mov_r64_imm64 ? i.Iced.Immediate64 : i.Iced.Immediate32;
        SetGuest(i.Iced.Op0Register.GetNumber(), value);
    }

    /// <summary>Sets one or two bytes of a guest register; the rest stays.</summary>
    private void EmitLoadPart(in GuestInstruction i)
    {
        Register register = i.Iced.Op0Register;
        bool two = register.IsGPR16(), high = register is >= Register.AH and <= Register.BH;
        int guest = register.GetFullRegister().GetNumber(), home = HostRegister.Of(guest);
        if (two)
            _asm.Byte(0x66);
        if (home == HostRegister.None)
        {
            _asm.OpMemory(false, two ? 0xC7 : 0xC6, 0, Slot(guest));
        }
        else
        {
            // AH, DH and BH are as far from AL, DL and BL; of the other low bytes some need a REX prefix to be named.
            _asm.Rex(false, 0, 0, home, force: !two && !high);
            _asm.Byte((two ? 0xB8 : 0xB0) | (high ? home + 4 : home & 7));
        }
        _asm.Byte(two ? i.Iced.Immediate16 : i.Iced.Immediate8);
        if (two)
            _asm.Byte(i.Iced.Immediate16 >> 8);
    }

    /// <summary>Sets a guest register to a constant.</summary>
    private void SetGuest(int guest, ulong value)
    {
        int home = HostRegister.Of(guest);
        if (home != HostRegister.None)
        {
            _asm.Constant(home, value);
        }
        else if ((ulong)(long)(int)value == value)
        {
            _asm.StoreImmediate(Slot(guest), (int)value, wide: true);
        }
        else
        {
            _asm.Constant(HostRegister.Scratch, value);
            _asm.Store(Slot(guest), HostRegister.Scratch);
        }
    }

    /// <summary>Sets a guest register to an address relative to RIP.</summary>
    private void SetGuestAddress(int guest, ulong address)
    {
        int home = HostRegister.Of(guest);
        if (!_movable)
        {
            SetGuest(guest, address);
        }
        else if (home != HostRegister.None)
        {
            CodeAddress(home, address);
        }
        else
        {
            CodeAddress(HostRegister.Scratch, address);
            _asm.Store(Slot(guest), HostRegister.Scratch);
        }
    }

    private void EmitLoadAddress(in GuestInstruction i)
    {
        ref readonly Instruction instruction = ref i.Iced;
        int guest = instruction.Op0Register.GetNumber();
        bool wide = instruction.Op0Register.IsGPR64();
        if (instruction.MemoryBase == Register.RIP && wide)
        {
            SetGuestAddress(guest, instruction.MemoryDisplacement64);
            return;
        }
        if (instruction.MemoryBase == Register.RIP || (instruction.MemoryBase == Register.None && instruction.MemoryIndex == Register.None))
        {
            ulong address = instruction.MemoryDisplacement64;
            _movable &= instruction.MemoryBase != Register.RIP; // half an address: hardly anybody does that
            SetGuest(guest, wide ? address : (uint)address);
            return;
        }
        int baseHome = Operand(instruction.MemoryBase, HostRegister.Scratch);
        int indexHome = Operand(instruction.MemoryIndex, HostRegister.Rcx);
        HostAddress from = new(baseHome, indexHome, Scale(instruction), (int)instruction.MemoryDisplacement64);
        int home = HostRegister.Of(guest);
        int to = home == HostRegister.None ? HostRegister.Scratch : home;
        if (wide)
            _asm.Lea(to, from);
        else
            _asm.Lea32(to, from);
        if (home == HostRegister.None)
        {
            _asm.Store(Slot(guest), to);
            _inScratch = guest;
        }
    }

    /// <summary>A guest register's home, or <paramref name="scratch"/> loaded with it.</summary>
    private int Operand(Register register, int scratch)
    {
        if (register == Register.None)
            return HostRegister.None;
        int home = HostRegister.Of(register.GetNumber());
        if (home != HostRegister.None)
            return home;
        _asm.Load(scratch, Slot(register.GetNumber()));
        return scratch;
    }

    private void EmitReadTime(in GuestInstruction i)
    {
        bool withId = i.Iced.Mnemonic == Mnemonic.Rdtscp;
        int site = AddSite(new ExitSite { Kind = ExitKind.Time, Rip = i.Rip, Size = (byte)(withId ? 1 : 0) });
        if (stubs.ReadTime == 0)
        {
            Leave(site);
            Site(site).Resume = _asm.Here;
            return;
        }
        _asm.Call(stubs.ReadTime);
        nint over = _asm.Jump();
        SiteNumber(site);
        _asm.PatchHere(over);
        Site(site).Resume = _asm.Here;
        if (withId)
            _asm.Load32(HostRegister.GuestRcx, addresses.TscAux);
    }

    /// <summary>Leaves to the interpreter's PAUSE when the budget is used up. Flags stay.</summary>
    private void EmitPause(in GuestInstruction i)
    {
        _asm.Bytes(_code + i.Offset, i.Length);
        _asm.Load32(HostRegister.Rcx, addresses.PauseBudget);
        _asm.Lea(HostRegister.Rcx, HostAddress.At(HostRegister.Rcx, -1));
        nint last = _asm.JumpIfRcxZero();
        _asm.Store32(addresses.PauseBudget, HostRegister.Rcx);
        nint more = _asm.Jump();
        _asm.PatchShortHere(last);
        EmitExit(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip });
        _asm.PatchHere(more);
    }

    private void EmitReadSelector(in GuestInstruction i)
    {
        int guest = i.Iced.Op0Register.GetNumber(), home = HostRegister.Of(guest);
        int to = home == HostRegister.None ? HostRegister.Scratch : home;
        _asm.OpMemory(false, 0xB70F, to, addresses.Selector(i.Iced.Op1Register - Register.ES)); // MOVZX r32, m16
        if (home == HostRegister.None)
            _asm.Store(Slot(guest), to);
    }

    private void EmitReadControl(in GuestInstruction i)
    {
        int guest = i.Iced.Op0Register.GetNumber(), home = HostRegister.Of(guest);
        int to = home == HostRegister.None ? HostRegister.Scratch : home;
        _asm.OpMemory(!_code32, 0x8B, to, addresses.Control(i.Iced.Op1Register - Register.CR0));
        if (home == HostRegister.None)
            _asm.Store(Slot(guest), to);
    }

    /// <summary>Without CR4.PKE, or with ECX other than 0, the interpreter raises what is due.</summary>
    private void EmitReadKeys(in GuestInstruction i)
    {
        bool save = !i.FlagsDeadBefore;
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip });
        SaveFlags(save);
        _asm.OpMemory(false, 0xF7, 0, addresses.Control(4)); // TEST
        _asm.Int32((int)Cr4.Pke);
        AddExit(Condition.Equal, site, save);
        _asm.OpRegister(false, 0x85, HostRegister.GuestRcx, HostRegister.GuestRcx); // TEST
        AddExit(Condition.NotEqual, site, save);
        RestoreFlags(save);
        _asm.Load32(HostRegister.Rax, addresses.Keys);
        _asm.Constant(HostRegister.Rdx, 0);
    }

    private void EmitByteSwap(in GuestInstruction i)
    {
        int guest = i.Iced.Op0Register.GetNumber(), home = HostRegister.Of(guest);
        int register = Operand(i.Iced.Op0Register.GetFullRegister(), HostRegister.Scratch);
        _asm.Rex(i.Iced.Op0Register.IsGPR64(), 0, 0, register, force: false);
        _asm.Byte(0x0F);
        _asm.Byte(0xC8 | (register & 7));
        if (home == HostRegister.None)
            _asm.Store(Slot(guest), register);
    }

    private void EmitExchangeRax(in GuestInstruction i)
    {
        bool wide = i.Iced.Code == Code.Xchg_r64_RAX;
        int guest = i.Iced.Op0Register.GetNumber(), home = HostRegister.Of(guest);
        if (home != HostRegister.None)
        {
            _asm.OpRegister(wide, 0x87, HostRegister.Rax, home);
            return;
        }
        _asm.Load(HostRegister.Scratch, Slot(guest));
        _asm.OpRegister(wide, 0x87, HostRegister.Rax, HostRegister.Scratch);
        _asm.Store(Slot(guest), HostRegister.Scratch);
    }

    /// <summary>
    /// DIV and IDIV run natively when they cannot raise #DE. DIV: the dividend's upper half is below the divisor. IDIV: the dividend is a sign-extended
    /// register and the divisor neither 0 nor -1, which is how compilers use it; the interpreter does the rest.
    /// </summary>
    private void EmitDivide(in GuestInstruction i)
    {
        bool memory = i.Iced.Op0Kind == OpKind.Memory;
        int size = memory ? i.Iced.MemorySize.GetSize() : i.Iced.Op0Register.GetSize();
        bool wide = size == 8, signed = i.Iced.Mnemonic == Mnemonic.Idiv, save = !i.FlagsDeadBefore;
        int divisor = HostRegister.Scratch;
        if (memory)
        {
            HostAddress operand = Probe(i, size, write: false);
            _asm.OpMemory(wide, 0x8B, HostRegister.Scratch, operand);
        }
        else
        {
            divisor = Operand(i.Iced.Op0Register.GetFullRegister(), HostRegister.Scratch);
        }
        if (divisor == HostRegister.Rax || divisor == HostRegister.Rdx)
        {
            _asm.Move(HostRegister.Scratch, divisor); // the check below needs RAX for flags, the division RAX and RDX
            divisor = HostRegister.Scratch;
        }
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip });
        if (signed)
            _asm.Move(HostRegister.Rcx, HostRegister.Rax);
        SaveFlags(save);
        if (signed)
        {
            _asm.OpRegister(wide, 0xC1, 7, HostRegister.Rcx); // SAR
            _asm.Byte(size * 8 - 1);
            _asm.AluRegisters(Alu.Cmp, HostRegister.Rcx, HostRegister.Rdx, wide);
            AddExit(Condition.NotEqual, site, save);
            _asm.OpMemory(wide, 0x8D, HostRegister.Rcx, HostAddress.At(divisor, 1));
            _asm.AluImmediate(Alu.Cmp, HostRegister.Rcx, 1, wide);
            AddExit(Condition.BelowOrEqual, site, save);
        }
        else
        {
            _asm.AluRegisters(Alu.Cmp, HostRegister.Rdx, divisor, wide);
            AddExit(Condition.AboveOrEqual, site, save);
        }
        RestoreFlags(save);
        _asm.OpRegister(wide, 0xF7, signed ? 7 : 6, divisor);
    }

    private void AddExit(Condition condition, int site, bool saved)
    {
        nint from = _asm.Jump(condition);
        AddCold(new ColdPath { Kind = ColdKind.Exit, From = from, Saved = saved, Site = site });
    }

    /// <summary>Clears IF or DF, which are in the second byte of RFLAGS.</summary>
    private void EmitClearFlag(in GuestInstruction i, ulong flag)
    {
        bool save = !i.FlagsDeadBefore;
        SaveFlags(save);
        _asm.OpMemory(false, 0x80, (int)Alu.And, addresses.RFlags with { Disp = addresses.RFlags.Disp + 1 });
        _asm.Byte(unchecked((byte)~(flag >> 8)));
        RestoreFlags(save);
    }

    /// <summary>
    /// STI. If an interrupt has been held off the interpreter does it, and the interrupt comes after the next instruction; else only one yet to
    /// come can, at the next place that looks, which is never before the next instruction's end.
    /// </summary>
    private void EmitEnableInterrupts(in GuestInstruction i)
    {
        bool save = !i.FlagsDeadBefore;
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip });
        SaveFlags(save);
        _asm.AluMemoryImmediate(Alu.Cmp, addresses.HeldInterrupt, 0, wide: false);
        AddExit(Condition.NotEqual, site, save);
        _asm.OpMemory(false, 0x80, (int)Alu.Or, addresses.RFlags with { Disp = addresses.RFlags.Disp + 1 });
        _asm.Byte((byte)(Rflags.If >> 8));
        RestoreFlags(save);
    }

    private void EmitSwapGs()
    {
        _asm.Load(HostRegister.Rcx, addresses.SegmentBase(SegmentIndex.Gs));
        _asm.Load(HostRegister.Scratch, addresses.KernelGsBase);
        _asm.Store(addresses.KernelGsBase, HostRegister.Rcx);
        _asm.Store(addresses.SegmentBase(SegmentIndex.Gs), HostRegister.Scratch);
        _asm.Store(addresses.GsBase, HostRegister.Scratch);
    }
}
