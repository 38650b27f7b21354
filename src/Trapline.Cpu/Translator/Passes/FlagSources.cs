using Iced.Intel;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>
/// Flag sources: where flags are live and emitted code needs them for a check of its own, they need not be saved if they can be made again. A CMP or TEST
/// of registers and constants gives the same flags as long as its operands are what they were; after AND, OR and XOR a TEST of the result does. Most
/// flags that live across an access to memory are such, and most that may live at the end of a block, where what follows is not known.
/// </summary>
public static class FlagSources
{
    public static void Run(GuestBlock block)
    {
        Span<GuestInstruction> all = block.All;
        int source = GuestInstruction.NoSource;
        for (int n = 0; n < all.Length; n++)
        {
            ref GuestInstruction i = ref all[n];
            i.FlagSource = source;
            if ((i.Iced.RflagsModified & CodeFacts.Arithmetic) != 0)
                source = CanRepeat(i) ? n : GuestInstruction.NoSource;
            else if (source != GuestInstruction.NoSource && (!RegisterChanges.AreKnown(i) || ChangesOperands(i, all[source])))
                source = GuestInstruction.NoSource;
        }
    }

    /// <summary>The flags are those of its result, which a TEST gives again.</summary>
    public static bool IsLogical(in GuestInstruction i) => i.Iced.Mnemonic is Mnemonic.And or Mnemonic.Or or Mnemonic.Xor;

    private static bool CanRepeat(in GuestInstruction i)
    {
        if (i.Treatment is not (Treatment.Reencode or Treatment.Verbatim))
            return false;
        if (IsLogical(i))
            return IsInPlace(i, 0) && i.Iced.Op0Register.GetSize() >= 4;
        return i.Iced.Mnemonic is Mnemonic.Cmp or Mnemonic.Test && IsInPlace(i, 0) && (IsInPlace(i, 1) || i.Iced.Op1Kind is not (OpKind.Register or OpKind.Memory));
    }

    /// <summary>A register that the host has, too, and not its second byte: nothing is in the way of emitting the instruction a second time.</summary>
    private static bool IsInPlace(in GuestInstruction i, int operand) =>
        i.Iced.GetOpKind(operand) == OpKind.Register && i.Iced.GetOpRegister(operand) is var register && register.IsGPR()
        && register is not (>= Register.AH and <= Register.BH) && HostRegister.Of(register.GetFullRegister().GetNumber()) != HostRegister.None;

    private static bool ChangesOperands(in GuestInstruction i, in GuestInstruction source)
    {
        int operands = IsLogical(source) ? 1 : 2;
        for (int n = 0; n < operands; n++)
            if (source.Iced.GetOpKind(n) == OpKind.Register && RegisterChanges.Includes(i, source.Iced.GetOpRegister(n).GetFullRegister()))
                return true;
        return false;
    }
}
