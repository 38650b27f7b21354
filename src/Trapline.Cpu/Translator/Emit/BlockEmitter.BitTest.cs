using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>BT, BTS, BTR and BTC of a bit in memory that a register numbers: the kernel's bitmaps.</summary>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>
    /// The number, which has a sign, reaches beyond the operand (SDM Vol. 2, BT): what is probed is the word that it leads to. The host's instruction then
    /// gets the operand's own address plus that word's addend, and finds the word itself.
    /// </summary>
    private void EmitBitTest(in GuestInstruction i)
    {
        OriginalBytes original = new(_code + i.Offset, i.Length, _code32);
        int size = i.Iced.MemorySize.GetSize(), reg = HostRegister.Of(original.RegField);
        bool live = !i.FlagsDeadBefore, wide = size == 8;
        nint resume = _asm.Here;
        bool leavesRcx = PutAddress(i.Iced);
        if (reg == HostRegister.None)
            _asm.OpMemory(true, wide ? 0x8B : SignExtend32, HostRegister.Rcx, Slot(original.RegField));
        else
            _asm.OpRegister(true, wide ? 0x8B : SignExtend32, HostRegister.Rcx, reg);
        SaveFlags(live);
        _asm.OpRegister(true, 0xC1, 7, HostRegister.Rcx); // SAR
        _asm.Byte(wide ? 6 : 5);
        _asm.Lea(HostRegister.Scratch, new HostAddress(HostRegister.Scratch, HostRegister.Rcx, wide ? 3 : 2, 0));
        ProbeSaved(i.Rip, size, i.Facts.WritesRm, live, resume, keep: false, group: false);
        RestoreFlags(live);
        if (!leavesRcx)
            _asm.Store(addresses.Held, HostRegister.Rcx);
        PutAddress(i.Iced);
        if (!leavesRcx)
            _asm.Load(HostRegister.Rcx, addresses.Held);
        HostAddress operand = new(HostRegister.Scratch, HostRegister.Rcx, 0, 0);
        if (reg == HostRegister.None)
        {
            _asm.Lea(HostRegister.Rcx, operand);
            operand = HostAddress.At(HostRegister.Rcx);
            reg = HostRegister.Scratch;
            _asm.Load(reg, Slot(original.RegField));
        }
        EmitLegacy(original, reg, memory: true, rm: 0, operand);
    }

    /// <summary>MOVSXD.</summary>
    private const int SignExtend32 = 0x63;

    /// <summary>The operand's linear address into r14, flags untouched. True if RCX is, too.</summary>
    private bool PutAddress(in Instruction instruction)
    {
        if (!ModeRules.IsConstant(instruction))
            return EffectiveAddress(instruction, instruction.SegmentPrefix is Register.FS or Register.GS);
        ConstantAddress(instruction);
        return true;
    }
}
