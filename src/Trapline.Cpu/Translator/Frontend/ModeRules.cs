using Iced.Intel;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.Emit;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>Which instructions the current mode, or the choice of operands, leaves to the interpreter.</summary>
/// <param name="Supervisor">Ring 0.</param>
/// <param name="Vectors">SSE and AVX are enabled by CR0, CR4 and XCR0.</param>
/// <param name="Model">What the guest's CPU model has.</param>
/// <param name="Code32">32-bit code, else 64-bit.</param>
/// <param name="WideFs">In 32-bit code: FS has neither a limit nor other restrictions.</param>
/// <param name="WideGs">As <paramref name="WideFs"/>.</param>
/// <param name="X87">x87 is enabled by CR0.</param>
/// <param name="AccessPrevented">SMAP is in force: ring 0, and AC is clear.</param>
public readonly partial record struct ModeRules(bool Supervisor, bool Vectors, ModelFeatures Model, bool Code32 = false, bool WideFs = false, bool WideGs = false, bool X87 = true, bool AccessPrevented = false)
{
    /// <summary>The rules of a block's mode.</summary>
    public static ModeRules Of(uint mode, ModelFeatures model) => new(
        Supervisor: BlockMode.Context(mode) != SoftTlb.User,
        Vectors: (mode & BlockMode.NoVectors) == 0,
        model,
        Code32: (mode & BlockMode.SizeMask) == BlockMode.Code32,
        WideFs: (mode & BlockMode.WideFs) != 0,
        WideGs: (mode & BlockMode.WideGs) != 0,
        X87: (mode & BlockMode.NoX87) == 0,
        AccessPrevented: BlockMode.Context(mode) == SoftTlb.Supervisor);

    /// <summary>Code of this mode can be translated at all.</summary>
    public static bool Translates(uint mode) => BlockMode.Context(mode) != SoftTlb.Bypass
        && ((mode & BlockMode.SizeMask) == BlockMode.Code64
            || (mode & (BlockMode.SizeMask | BlockMode.Flat | BlockMode.Legacy)) == (BlockMode.Code32 | BlockMode.Flat));

    public Treatment Judge(in GuestInstruction i)
    {
        Treatment treatment = i.Facts.Treatment;
        if ((i.Facts.Vector && !Vectors) || (i.Facts.X87 && !X87) || (treatment != Treatment.Interpret && !Model.Has(i.Iced)))
            return Treatment.Interpret;
        if (Code32 ? !FitsCode32(i) : treatment == Treatment.AbsoluteMove)
            return Treatment.Interpret;
        if (treatment is Treatment.DisableInterrupts or Treatment.EnableInterrupts or Treatment.SwapGs or Treatment.ReadControl && !Supervisor)
            return Treatment.Interpret;
        if (i.Iced.Op0Kind == OpKind.NearBranch64 && (long)(i.Iced.NearBranchTarget << 16) >> 16 != (long)i.Iced.NearBranchTarget)
            return Treatment.Interpret; // #GP belongs to the jump, not to its target
        return treatment switch
        {
            Treatment.Reencode when IsBitTest(i.Iced) => BitTestFits(i.Iced) ? Treatment.BitTest : Treatment.Interpret,
            Treatment.Reencode or Treatment.WithRcx or Treatment.LoadAddress or Treatment.Divide or Treatment.Push or Treatment.Jump or Treatment.Call
                => OperandsFit(i) ? treatment : treatment == Treatment.Reencode && FitsInRcx(i) ? Treatment.InRcx : Treatment.Interpret,
            Treatment.StringStep => !IsPlainString(i.Iced) ? Treatment.Interpret
                : !i.Iced.HasRepPrefix && !i.Iced.HasRepnePrefix ? Treatment.StringStep
                : i.Iced.HasRepPrefix && IsRun(i.Iced.Mnemonic) ? Treatment.StringRun : Treatment.Interpret,
            Treatment.ReadSelector when i.Iced.Op0Kind != OpKind.Register => Treatment.Interpret,
            Treatment.ClearAccess => AccessPrevented ? Treatment.Nothing : Treatment.Interpret,
            Treatment.ReadControl when i.Iced.Op1Register == Register.CR8 || i.Iced.Op0Register.GetFullRegister() == Register.RSP => Treatment.Interpret,
            Treatment.LoadConstant when i.Iced.Op0Register == Register.CH => Treatment.Interpret,
            Treatment.ByteSwap when i.Iced.Op0Register.IsGPR16() => Treatment.Interpret,
            _ => treatment,
        };
    }

    /// <summary>AH to BH have names only where no register of the instruction needs a REX prefix: not with RCX in r13.</summary>
    private static bool FitsInRcx(in GuestInstruction i)
    {
        bool highByte = false;
        for (int n = 0; n < i.Iced.OpCount; n++)
        {
            Register register = i.Iced.GetOpKind(n) == OpKind.Register ? i.Iced.GetOpRegister(n) : Register.None;
            if (i.Iced.GetOpKind(n) == OpKind.Memory || (register != Register.None && !register.IsGPR()) || register.GetFullRegister() == Register.RSP)
                return false;
            highByte |= register is >= Register.AH and <= Register.BH;
        }
        return highByte;
    }

    private bool OperandsFit(in GuestInstruction i)
    {
        ref readonly Instruction instruction = ref i.Iced;
        bool memory = false, highByte = false, needsRex = false;
        int inMemory = 0;
        for (int n = 0; n < instruction.OpCount; n++)
        {
            if (instruction.GetOpKind(n) == OpKind.Memory)
                memory = true;
            if (instruction.GetOpKind(n) != OpKind.Register || !instruction.GetOpRegister(n).IsGPR())
                continue;
            Register register = instruction.GetOpRegister(n);
            highByte |= register is Register.AH or Register.BH or Register.DH;
            if (register == Register.CH)
                return false;
            int home = HostRegister.Of(register.GetFullRegister().GetNumber());
            needsRex |= home > 7 && register is not (Register.AH or Register.BH or Register.DH);
            if (home == HostRegister.None && !(i.Treatment == Treatment.WithRcx && register == Register.CL))
                inMemory++;
        }
        if (inMemory >= 2 && instruction.Mnemonic is Mnemonic.Xadd or Mnemonic.Xchg or Mnemonic.Cmpxchg or Mnemonic.Mulx && instruction.Op0Register == instruction.Op1Register)
            return false; // both operands are written: two copies of one register
        if (highByte && (needsRex || inMemory != 0))
            return false;
        if (i.Facts.Treatment == Treatment.Divide && (i.Iced.Op0Kind == OpKind.Register ? i.Iced.Op0Register.GetSize() : i.Iced.MemorySize.GetSize()) < 4)
            return false;
        if (i.Facts.Treatment == Treatment.WithRcx && i.Facts.RegOperand >= 0 && inMemory != 0)
            return false;
        if (!memory)
            return inMemory <= 3;
        bool valueFirst = inMemory == 2 && i.Facts.VvvvOperand >= 0 && i.Facts.RmIsGeneral && !i.Facts.WritesRm && i.Facts.RegAccess == OpAccess.Write;
        if (inMemory > 1 && !valueFirst)
            return false;
        if (!Code32 && HasNarrowAddress(instruction))
            return false;
        if (i.Facts.Treatment == Treatment.LoadAddress)
            return instruction.Op0Register.GetSize() >= 4;
        int size = instruction.MemorySize.GetSize();
        if (size is not (1 or 2 or 4 or 8 or 16 or 32) && !(size == 10 && i.Facts.X87))
            return false;
        if (IsConstant(instruction))
        {
            ulong address = instruction.MemoryDisplacement64;
            if ((address & 0xFFF) + (ulong)size > 4096 || (i.Facts.Aligned && (address & (ulong)(size - 1)) != 0))
                return false;
        }
        return true;
    }

    /// <summary>The bit's number reaches beyond the operand in memory.</summary>
    private static bool IsBitTest(in Instruction instruction) =>
        instruction.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && instruction.Op0Kind == OpKind.Memory && instruction.Op1Kind == OpKind.Register;

    private bool BitTestFits(in Instruction instruction) => !Code32 && instruction.MemorySize.GetSize() >= 4 && !HasNarrowAddress(instruction);

    private static bool HasNarrowAddress(in Instruction instruction) =>
        instruction.MemoryBase is Register.EIP || instruction.MemoryBase.IsGPR32() || instruction.MemoryIndex.IsGPR32() || HasAddressPrefix(instruction);

    private static bool IsRun(Mnemonic mnemonic) => mnemonic is Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq
        or Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq;

    /// <summary>With pointers as wide as addresses are, in segments without bases.</summary>
    private bool IsPlainString(in Instruction instruction)
    {
        bool plain = instruction.SegmentPrefix is not (Register.CS or Register.FS or Register.GS);
        for (int n = 0; n < instruction.OpCount; n++)
            plain &= instruction.GetOpKind(n) switch
            {
                OpKind.MemorySegRSI or OpKind.MemoryESRDI => !Code32,
                OpKind.MemorySegESI or OpKind.MemoryESEDI => Code32,
                OpKind.Register => true,
                _ => false,
            };
        return plain;
    }

    /// <summary>The operand's address is known now: relative to RIP, or absolute.</summary>
    public static bool IsConstant(in Instruction instruction) =>
        instruction.MemoryIndex == Register.None && instruction.MemoryBase is Register.None or Register.RIP
        && instruction.MemoryIndex == Register.None && instruction.SegmentPrefix is not (Register.FS or Register.GS);

    private static bool HasAddressPrefix(in Instruction instruction) =>
        instruction.MemoryBase == Register.None && instruction.MemoryIndex == Register.None && instruction.MemoryDisplSize == 4;
}
