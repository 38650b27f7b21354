using Iced.Intel;

namespace Trapline.Cpu.Translator.Verify;

/// <summary>Follows which arithmetic flags the architecture leaves undefined: there the host's silicon and the interpreter may differ.</summary>
public struct UndefinedState
{
    public RflagsBits Flags { get; private set; }

    /// <summary>Something read an undefined flag, or computed an approximation that each maker defines: nothing that follows can be compared.</summary>
    public bool Tainted { get; private set; }

    /// <summary>Bits of the x87 status word that are defined.</summary>
    public readonly uint X87Status => _conditionsUndefined ? ~X87File.Undefined : ~0u;

    private bool _conditionsUndefined;

    public void AddUnknown()
    {
        Flags = Frontend.CodeFacts.Arithmetic;
        _conditionsUndefined = true;
    }

    public void Add(in Instruction instruction)
    {
        AddX87(instruction);
        Tainted |= (instruction.RflagsRead & Flags) != 0 || instruction.Mnemonic is Mnemonic.Pushfq or Mnemonic.Pushfd or Mnemonic.Lahf && Flags != 0 || Approximates(instruction)
            || instruction.Code is Code.Shld_rm16_r16_imm8 or Code.Shrd_rm16_r16_imm8 or Code.Shld_rm16_r16_CL or Code.Shrd_rm16_r16_CL;
        // A count of zero keeps the flags: shifts by CL define nothing for certain.
        bool certain = instruction.OpCount == 0 || instruction.GetOpKind(instruction.OpCount - 1) != OpKind.Register || instruction.GetOpRegister(instruction.OpCount - 1) != Register.CL;
        if (certain)
            Flags &= ~(instruction.RflagsWritten | instruction.RflagsCleared | instruction.RflagsSet);
        Flags |= instruction.RflagsUndefined & Frontend.CodeFacts.Arithmetic;
        if (RotatesAllTheWay(instruction))
            Flags |= RflagsBits.OF;
    }

    /// <summary>
    /// RCL and RCR of 8 or 16 bits by a multiple of 9 or 17 change nothing but OF, which is undefined as after any count but 1 (SDM Vol. 2, RCL).
    /// Iced takes the count modulo the width for the count.
    /// </summary>
    private static bool RotatesAllTheWay(in Instruction instruction) => instruction.Code switch
    {
        Code.Rcl_rm8_imm8 or Code.Rcr_rm8_imm8 => (instruction.Immediate8 & 31) is 9 or 18 or 27,
        Code.Rcl_rm16_imm8 or Code.Rcr_rm16_imm8 => (instruction.Immediate8 & 31) == 17,
        _ => false,
    };

    private void AddX87(in Instruction instruction)
    {
        // MMX leaves the condition codes alone.
        if (!Frontend.CodeFacts.Of(instruction).LeavesX87Pointers && !Frontend.X87Codes.Control.Contains(instruction.Mnemonic))
            return;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Fcom or Mnemonic.Fcomp or Mnemonic.Fcompp or Mnemonic.Fucom or Mnemonic.Fucomp or Mnemonic.Fucompp or Mnemonic.Ficom
                or Mnemonic.Ficomp or Mnemonic.Ftst or Mnemonic.Fxam or Mnemonic.Fprem or Mnemonic.Fprem1 or Mnemonic.Fninit:
                _conditionsUndefined = false;
                break;
            case Mnemonic.Fnstsw:
                Tainted |= _conditionsUndefined;
                break;
            case Mnemonic.Wait or Mnemonic.Fldcw or Mnemonic.Fnstcw or Mnemonic.Emms:
                break;
            default:
                _conditionsUndefined = true;
                break;
        }
    }

    private static bool Approximates(in Instruction instruction) => instruction.Mnemonic
        is Mnemonic.F2xm1 or Mnemonic.Fyl2x or Mnemonic.Fyl2xp1 or Mnemonic.Fpatan or Mnemonic.Fsin or Mnemonic.Fcos or Mnemonic.Fsincos or Mnemonic.Fptan
        or Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss or Mnemonic.Vrcpps or Mnemonic.Vrcpss or Mnemonic.Vrsqrtps or Mnemonic.Vrsqrtss;
}
