using Iced.Intel;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>What 32-bit code leaves to the interpreter besides: operands of 16 bits in jumps and addresses, segments that are not flat.</summary>
public readonly partial record struct ModeRules
{
    private bool FitsCode32(in GuestInstruction i)
    {
        ref readonly Instruction instruction = ref i.Iced;
        switch (i.Facts.Treatment)
        {
            // What is not listed is made for 64-bit code.
            case Treatment.Nothing or Treatment.Verbatim or Treatment.LoadConstant or Treatment.ByteSwap or Treatment.ExchangeRax or Treatment.StepRegister
                or Treatment.DisableInterrupts or Treatment.EnableInterrupts or Treatment.Pop or Treatment.Leave or Treatment.PushFlags or Treatment.Return
                or Treatment.StringStep or Treatment.ReadTime or Treatment.ReadSelector or Treatment.Pause
                or Treatment.ReadControl or Treatment.ReadKeys or Treatment.ClearDirection or Treatment.ClearAccess:
                return true;
            case Treatment.Reencode or Treatment.WithRcx or Treatment.Divide or Treatment.Push or Treatment.LoadAddress:
                break;
            case Treatment.AbsoluteMove:
                return !IsConstant(instruction) || (instruction.MemoryDisplacement64 & 0xFFF) + (ulong)instruction.MemorySize.GetSize() <= 4096
                    ? AddressFits(instruction) : false;
            case Treatment.ConditionalJump or Treatment.CountJump:
                return instruction.Op0Kind == OpKind.NearBranch32;
            case Treatment.Jump or Treatment.Call:
                if (instruction.Op0Kind == OpKind.NearBranch32)
                    return true;
                if (instruction.Code is not (Code.Jmp_rm32 or Code.Call_rm32))
                    return false;
                break;
            default:
                return false;
        }
        for (int n = 0; n < instruction.OpCount; n++)
            if (instruction.GetOpKind(n) == OpKind.Memory)
                return AddressFits(instruction);
        return true;
    }

    private bool AddressFits(in Instruction instruction)
    {
        Register b = instruction.MemoryBase, x = instruction.MemoryIndex;
        bool narrow = (b != Register.None && !b.IsGPR32()) || (x != Register.None && !x.IsGPR32())
            || (b == Register.None && x == Register.None && instruction.MemoryDisplSize == 2);
        if (narrow)
            return false;
        if (instruction.Mnemonic == Mnemonic.Lea)
            return true;
        return instruction.SegmentPrefix switch
        {
            Register.CS => false, // not writable, perhaps not readable
            Register.FS => WideFs && EndsWithin(instruction),
            Register.GS => WideGs && EndsWithin(instruction),
            _ => true,
        };
    }

    /// <summary>An operand at a known offset does not reach beyond 4 GiB, the segment's limit; of others the emitted code finds out.</summary>
    private static bool EndsWithin(in Instruction instruction) => instruction.MemoryBase != Register.None || instruction.MemoryIndex != Register.None
        || instruction.MemoryDisplacement64 + (ulong)instruction.MemorySize.GetSize() <= 1ul << 32;
}
