using Iced.Intel;
using Trapline.Cpu.Interpreter.Families;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// x87 instructions run as they are, on the host's FPU, with the guest's registers and control word in it (see <see cref="Runtime.Stubs"/>). What the
/// host would get wrong are the pointers to the last instruction and its operand: they would point to emitted code. So translated code notes, where
/// anyone may look next, which instruction and which operand it was.
/// </summary>
public sealed unsafe partial class BlockEmitter
{
    private const int AllMasked = 0x3F;

    /// <summary>From here on the block has x87 state in the host's FPU.</summary>
    private bool _x87;

    /// <summary>
    /// Before the block's first x87 instruction, and not at its beginning: where an unmasked exception leaves x87 to the interpreter, the rest stays native.
    /// RCX survives, where it is the addend of a group.
    /// </summary>
    private void EmitX87Needed(in GuestInstruction first)
    {
        _x87 = true;
        EmitLoadNeeded(first, addresses.X87, ColdKind.LoadX87);
    }

    /// <summary>
    /// After the instruction. RCX survives, where it is the addend of a group. Between two instructions on registers alone nothing can leave, so the
    /// second note would overwrite the first unseen.
    /// </summary>
    private void EmitX87Pointers(in GuestInstruction i)
    {
        ref readonly Instruction instruction = ref i.Iced;
        if (i.Facts.RmOperand >= 0)
        {
            EmitX87Operand(instruction);
            int segment = SegmentNumber(instruction.MemorySegment);
            _asm.StoreImmediate(addresses.X87Segment, segment, wide: false);
        }
        if (IsUnseen(i))
            return;
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip, X87Opcode = (ushort)X87.Fop(instruction, _code32 ? 4 : 8, !_code32) });
        StoreSite(addresses.X87Last, site);
    }

    /// <summary>FNINIT, after it.</summary>
    private void EmitX87Clear()
    {
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, X87Cleared = true });
        StoreSite(addresses.X87Last, site);
        _asm.StoreImmediate(addresses.X87Segment, (int)Runtime.TranslationFrame.ClearedSegment, wide: false);
        _asm.StoreImmediate(addresses.Fdp, 0, wide: true);
    }

    private bool IsUnseen(in GuestInstruction i)
    {
        foreach (ref readonly GuestInstruction next in _block.All)
            if (next.Offset == i.Offset + i.Length)
                return next.Facts.LeavesX87Pointers && next.Treatment == Treatment.Verbatim && !next.WindowBegins;
        return false;
    }

    /// <summary>The operand's offset in its segment. It has not changed: x87 instructions write no register that addresses.</summary>
    private void EmitX87Operand(in Instruction instruction)
    {
        bool register = instruction.MemoryBase.IsGPR() && instruction.MemoryIndex == Register.None && instruction.MemoryDisplacement64 == 0;
        if (register && Home(instruction.MemoryBase) != HostRegister.None)
        {
            _asm.Store(addresses.Fdp, Home(instruction.MemoryBase));
            return;
        }
        bool constant = instruction.MemoryIndex == Register.None && instruction.MemoryBase is Register.None or Register.RIP;
        if (constant)
            ConstantAddress(instruction);
        else if (_code32)
            EffectiveAddress32(instruction);
        else
            EffectiveAddress(instruction, segment: false);
        _asm.Store(addresses.Fdp, HostRegister.Scratch);
    }

    private static int SegmentNumber(Register segment) => segment - Register.ES;

    /// <summary>
    /// FLDCW: a control word that unmasks an exception is the interpreter's. What was checked is what is loaded, whoever writes to the memory meanwhile.
    /// </summary>
    private void EmitLoadX87Control(in GuestInstruction i)
    {
        bool save = !i.FlagsDeadBefore;
        HostAddress operand = MemoryOperand(i, write: false);
        _asm.OpMemory(false, 0xB70F, HostRegister.Scratch, operand); // MOVZX
        _asm.Store32(addresses.X87Control, HostRegister.Scratch);
        SaveFlags(save);
        _asm.AluImmediate(Alu.And, HostRegister.Scratch, AllMasked, wide: false);
        _asm.AluImmediate(Alu.Cmp, HostRegister.Scratch, AllMasked, wide: false);
        AddExit(Condition.NotEqual, AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip }), save);
        RestoreFlags(save);
        _asm.OpMemory(false, 0xD9, 5, addresses.X87Control);
    }
}
