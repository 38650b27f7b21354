using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>Which general registers an instruction changes.</summary>
internal static class RegisterChanges
{
    /// <summary><see cref="Includes"/> knows every general register that it changes.</summary>
    public static bool AreKnown(in GuestInstruction i) => i.Treatment switch
    {
        Treatment.Nothing or Treatment.Verbatim or Treatment.LoadConstant or Treatment.ByteSwap or Treatment.ExchangeRax or Treatment.StepRegister
            or Treatment.LoadAddress or Treatment.ConditionalJump or Treatment.Reencode or Treatment.BitTest or Treatment.Divide or Treatment.Push or Treatment.Pop
            or Treatment.AbsoluteMove => true,
        Treatment.WithRcx => i.Iced.Mnemonic is not (Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b),
        _ => false,
    };

    /// <summary>True if the instruction may write the register.</summary>
    public static bool Includes(in GuestInstruction i, Register register)
    {
        // Implicit results are in RAX and RDX.
        if (register is Register.RAX or Register.RDX && i.Treatment == Treatment.Verbatim)
            return true;
        if (register is Register.RAX or Register.RDX && i.Iced.Mnemonic is Mnemonic.Mul or Mnemonic.Imul or Mnemonic.Cmpxchg or Mnemonic.Div or Mnemonic.Idiv)
            return true;
        if (register == Register.RAX && i.Treatment is Treatment.ExchangeRax or Treatment.AbsoluteMove)
            return true;
        if (register == Register.RCX && i.Facts.GivesEcx)
            return true;
        if (register == Register.RSP && i.Treatment is Treatment.Push or Treatment.Pop)
            return true;
        for (int n = 0; n < i.Iced.OpCount; n++)
            if (i.Iced.GetOpKind(n) == OpKind.Register && i.Iced.GetOpRegister(n).IsGPR() && i.Iced.GetOpRegister(n).GetFullRegister() == register)
            {
                bool reads = n == i.Facts.RegOperand ? !CodeFacts.Writes(i.Facts.RegAccess)
                    : n == i.Facts.RmOperand ? !CodeFacts.Writes(i.Facts.RmAccess)
                    : i.Treatment == Treatment.Reencode && n == i.Facts.VvvvOperand && !CodeFacts.Writes(i.Facts.VvvvAccess);
                if (!reads)
                    return true;
            }
        return false;
    }
}
