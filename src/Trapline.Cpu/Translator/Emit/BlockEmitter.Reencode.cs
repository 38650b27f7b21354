using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// The general case: the original bytes with new REX or VEX, ModRM and displacement. Guest registers in memory become memory operands where the
/// encoding has room for one, else pass through RCX or r14. What r14 still has of one need not be loaded again.
/// </summary>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>The guest register in memory whose value r14 has, too, or <see cref="HostRegister.None"/>. Memory always has it: code may leave and resume.</summary>
    private int _inScratch;

    /// <summary>The instruction touches r14 nowhere but in <see cref="EmitReencoded"/>, which keeps account of it, nor a register in memory.</summary>
    private static bool KeepsScratch(in GuestInstruction i) => !i.Facts.X87 && !i.WindowBegins && i.Treatment switch
    {
        Treatment.Nothing or Treatment.Verbatim or Treatment.Reencode or Treatment.WithRcx or Treatment.ConditionalJump => true,
        Treatment.LoadConstant => HostRegister.Of(i.Iced.Op0Register.GetFullRegister().GetNumber()) != HostRegister.None,
        _ => false,
    };

    /// <summary>A guest register in memory into a scratch register.</summary>
    private void LoadGuest(int scratch, int guest)
    {
        if (_inScratch == guest)
            _asm.Move(scratch, HostRegister.Scratch); // nothing, if it is r14
        else
            _asm.Load(scratch, Slot(guest));
    }

    private void EmitReencoded(in GuestInstruction i)
    {
        if (i.Iced.Mnemonic == Mnemonic.Fldcw)
        {
            EmitLoadX87Control(i);
            return;
        }
        CodeFacts facts = i.Facts;
        OriginalBytes original = new(_code + i.Offset, i.Length, _code32);
        bool memory = facts.RmOperand >= 0 && i.Iced.GetOpKind(facts.RmOperand) == OpKind.Memory;
        HostAddress operand = default;
        int rmScratch = HostRegister.None;
        bool operandIsMemory = memory;
        if (memory)
        {
            operand = MemoryOperand(i, facts.WritesRm);
            bool highByte = UsesHighByte(i);
            bool needsScratch = InMemory(facts.RegIsGeneral, original.RegField, i, facts.RegOperand)
                || InMemory(facts.VvvvIsGeneral, original.IsVex ? original.VvvvField : 0, i, facts.VvvvOperand)
                || i.Treatment == Treatment.WithRcx;
            if (i.Treatment == Treatment.WithRcx)
            {
                if (operand.Index == HostRegister.Rcx || operand.Base == HostRegister.Rcx)
                {
                    _inScratch = HostRegister.None;
                    _asm.Lea(HostRegister.Scratch, operand);
                    operand = HostAddress.At(HostRegister.Scratch);
                }
            }
            else if ((needsScratch && operand.Base == HostRegister.Scratch) || highByte)
            {
                _asm.Lea(HostRegister.Rcx, operand);
                operand = HostAddress.At(HostRegister.Rcx);
            }
        }
        int rm = original.RmField;
        if (memory && InMemory(facts.RegIsGeneral, original.RegField, i, facts.RegOperand)
            && InMemory(facts.VvvvIsGeneral, original.IsVex ? original.VvvvField : 0, i, facts.VvvvOperand))
        {
            // Both scratch registers are needed (see ModeRules): the value comes first.
            _inScratch = HostRegister.None;
            _asm.OpMemory(original.Wide, 0x8B, HostRegister.Scratch, operand);
            rm = HostRegister.Scratch;
            operandIsMemory = memory = false;
        }
        else if (!memory && facts.RmOperand >= 0 && facts.RmIsGeneral && !IsHighByte(i, facts.RmOperand))
        {
            int home = HostRegister.Of(rm);
            if (home == HostRegister.None)
            {
                bool whole = original.Wide && i.Iced.Mnemonic == Mnemonic.Mov, changes = CodeFacts.Writes(facts.RmAccess);
                bool scratchTaken = InMemory(facts.RegIsGeneral, original.RegField, i, facts.RegOperand);
                if ((changes && !whole) || IsBitTest(i))
                {
                    home = rmScratch = scratchTaken && i.Treatment != Treatment.WithRcx ? HostRegister.Rcx : HostRegister.Scratch;
                    if (!WritesWhole(i, facts.RmOperand, facts.RmAccess))
                        LoadGuest(rmScratch, rm);
                }
                else if (_inScratch == rm && !changes && (!scratchTaken || WritesWhole(i, facts.RegOperand, facts.RegAccess)))
                {
                    home = HostRegister.Scratch;
                }
                else
                {
                    operand = Slot(rm);
                    operandIsMemory = true;
                }
            }
            rm = home == HostRegister.None ? rm : home;
        }
        if (i.Treatment == Treatment.WithRcx)
            _asm.Move(HostRegister.Rcx, HostRegister.GuestRcx);
        int reg = original.RegField, regScratch = HostRegister.None;
        if (facts.RegOperand >= 0 && facts.RegIsGeneral && !IsHighByte(i, facts.RegOperand))
        {
            reg = HostRegister.Of(original.RegField);
            if (reg == HostRegister.None)
            {
                reg = regScratch = HostRegister.Scratch;
                if (!WritesWhole(i, facts.RegOperand, facts.RegAccess))
                    LoadGuest(regScratch, original.RegField);
            }
        }
        int vvvv = 0, vvvvScratch = HostRegister.None;
        if (original.IsVex)
        {
            vvvv = original.VvvvField;
            if (facts.VvvvOperand >= 0 && facts.VvvvIsGeneral)
            {
                vvvv = HostRegister.Of(original.VvvvField);
                if (vvvv == HostRegister.None)
                {
                    bool rcxTaken = rmScratch == HostRegister.Rcx || memory;
                    vvvv = vvvvScratch = rcxTaken ? HostRegister.Scratch : HostRegister.Rcx;
                    if (!WritesWhole(i, facts.VvvvOperand, facts.VvvvAccess))
                        LoadGuest(vvvvScratch, original.VvvvField);
                }
            }
        }
        if (original.IsVex)
            EmitVex(original, reg, vvvv, operandIsMemory, rm, operand);
        else
            EmitLegacy(original, reg, operandIsMemory, rm, operand);
        _asm.Bytes(original.Start + original.TailAt, original.Length - original.TailAt);
        if (facts.GivesEcx)
            _asm.Move32(HostRegister.GuestRcx, HostRegister.Rcx);
        if (rmScratch != HostRegister.None)
            _asm.Store(Slot(original.RmField), rmScratch);
        if (regScratch != HostRegister.None && CodeFacts.Writes(facts.RegAccess))
            _asm.Store(Slot(original.RegField), regScratch);
        if (vvvvScratch != HostRegister.None && CodeFacts.Writes(facts.VvvvAccess))
            _asm.Store(Slot(original.VvvvField), vvvvScratch);
        NoteScratch(i, original, regScratch, rmScratch, vvvvScratch);
    }

    /// <summary>What r14 has after the instruction.</summary>
    private void NoteScratch(in GuestInstruction i, in OriginalBytes original, int reg, int rm, int vvvv)
    {
        CodeFacts facts = i.Facts;
        if (reg == HostRegister.Scratch)
            _inScratch = original.RegField;
        else if (vvvv == HostRegister.Scratch)
            _inScratch = original.VvvvField;
        else if (rm == HostRegister.Scratch)
            _inScratch = original.RmField;
        // Changed elsewhere: in RCX, or right in memory.
        bool rmChanged = rm != HostRegister.Scratch && facts.RmIsGeneral && CodeFacts.Writes(facts.RmAccess) && original.RmField == _inScratch;
        bool vvvvChanged = vvvv == HostRegister.Rcx && CodeFacts.Writes(facts.VvvvAccess) && original.VvvvField == _inScratch;
        if (rmChanged || vvvvChanged)
            _inScratch = HostRegister.None;
    }

    private void EmitLegacy(in OriginalBytes original, int reg, bool memory, int rm, in HostAddress operand)
    {
        for (int n = 0; n < original.PrefixLength; n++)
            if (original.Start[n] is 0x66 or 0xF0 or 0xF2 or 0xF3)
                _asm.Byte(original.Start[n]);
        if (memory)
            _asm.Rex(original.Wide, reg, operand.Index, operand.Base, force: original.Rex != 0);
        else
            _asm.Rex(original.Wide, reg, 0, rm, force: original.Rex != 0);
        _asm.Bytes(original.Start + original.OpcodeAt, original.OpcodeLength);
        if (memory)
            _asm.Operand(reg, operand);
        else
            _asm.Byte(0xC0 | (reg & 7) << 3 | (rm & 7));
    }

    private void EmitVex(in OriginalBytes original, int reg, int vvvv, bool memory, int rm, in HostAddress operand)
    {
        int index = memory ? operand.Index : 0, low = memory ? operand.Base : rm;
        _asm.Byte(0xC4);
        _asm.Byte((reg > 7 ? 0 : 0x80) | (index > 7 ? 0 : 0x40) | (low > 7 ? 0 : 0x20) | (original.Vex1 & 0x1F));
        _asm.Byte((original.Vex2 & 0x87) | (~vvvv & 15) << 3);
        _asm.Byte(original.Start[original.OpcodeAt]);
        if (memory)
            _asm.Operand(reg, operand);
        else
            _asm.Byte(0xC0 | (reg & 7) << 3 | (rm & 7));
    }

    private static bool InMemory(bool general, int field, in GuestInstruction i, int operand) =>
        operand >= 0 && general && !IsHighByte(i, operand) && HostRegister.Of(field) == HostRegister.None;

    /// <summary>The register's old value plays no part (writes of 32 bits clear the upper half).</summary>
    private static bool WritesWhole(in GuestInstruction i, int operand, OpAccess access) =>
        access == OpAccess.Write && i.Iced.GetOpRegister(operand).GetSize() >= 4;

    private static bool IsHighByte(in GuestInstruction i, int operand) =>
        operand >= 0 && i.Iced.GetOpKind(operand) == OpKind.Register && i.Iced.GetOpRegister(operand) is >= Register.AH and <= Register.BH;

    /// <summary>With a memory operand the bit's number reaches beyond the operand, so a register must stay one.</summary>
    private static bool IsBitTest(in GuestInstruction i) => i.Iced.Mnemonic == Mnemonic.Bt && i.Iced.Op1Kind == OpKind.Register;

    private static bool UsesHighByte(in GuestInstruction i) => IsHighByte(i, i.Facts.RegOperand) || IsHighByte(i, i.Facts.RmOperand);
}
