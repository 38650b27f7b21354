using Iced.Intel;

namespace Trapline.Cpu.Translator.Verify;

/// <summary>Follows which arithmetic flags the architecture leaves undefined: there the host's silicon and the interpreter may differ.</summary>
public struct UndefinedState
{
    public RflagsBits Flags { get; private set; }

    /// <summary>Something read an undefined flag, or computed an approximation that each maker defines: nothing that follows can be compared.</summary>
    public bool Tainted { get; private set; }

    public void AddUnknown() => Flags = Frontend.CodeFacts.Arithmetic;

    public void Add(in Instruction instruction)
    {
        Tainted |= (instruction.RflagsRead & Flags) != 0 || instruction.Mnemonic is Mnemonic.Pushfq or Mnemonic.Pushfd or Mnemonic.Lahf && Flags != 0 || Approximates(instruction)
            || instruction.Code is Code.Shld_rm16_r16_imm8 or Code.Shrd_rm16_r16_imm8 or Code.Shld_rm16_r16_CL or Code.Shrd_rm16_r16_CL;
        // A count of zero keeps the flags: shifts by CL define nothing for certain.
        bool certain = instruction.OpCount == 0 || instruction.GetOpKind(instruction.OpCount - 1) != OpKind.Register || instruction.GetOpRegister(instruction.OpCount - 1) != Register.CL;
        if (certain)
            Flags &= ~(instruction.RflagsWritten | instruction.RflagsCleared | instruction.RflagsSet);
        Flags |= instruction.RflagsUndefined & Frontend.CodeFacts.Arithmetic;
    }

    private static bool Approximates(in Instruction instruction) => instruction.Mnemonic
        is Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss or Mnemonic.Vrcpps or Mnemonic.Vrcpss or Mnemonic.Vrsqrtps or Mnemonic.Vrsqrtss;
}
