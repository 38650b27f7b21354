using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// What is different in 32-bit code. Guest registers have zeros in their upper halves there (see <see cref="SoftwareVcpu.ModeChanged"/>). A sum may wrap
/// around at 4 GiB. Where that is usual (with an index, which may be negative, or a displacement that is an address) it is made with 32 bits, and the
/// operand is r14 plus the page's addend. Where it is not (a pointer and a small displacement) the sum has 64 bits as in 64-bit code: one that should
/// have wrapped around hits nothing in the soft TLB (see <see cref="Mmu.VcpuMmu.Keep4GiB"/>), and the interpreter does it.
/// </summary>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>Bytes that PUSH and CALL move, and of an indirect jump's target.</summary>
    private int Word => _code32 ? 4 : 8;

    private void LoadWord(int register, in HostAddress from) => _asm.OpMemory(!_code32, 0x8B, register, from);
    private void StoreWord(in HostAddress to, int register) => _asm.OpMemory(!_code32, 0x89, register, to);
    private void LeaWord(int register, in HostAddress address) => _asm.OpMemory(!_code32, 0x8D, register, address);
    private void MoveWord(int to, int from) => _asm.OpRegister(!_code32, 0x8B, to, from);

    /// <summary>A pointer and a small displacement.</summary>
    private static bool IsPlainSum(in Instruction instruction) =>
        instruction.MemoryBase != Register.None && instruction.MemoryIndex == Register.None && instruction.SegmentPrefix is not (Register.FS or Register.GS)
        && Math.Abs((long)(int)instruction.MemoryDisplacement64) <= SameBaseGroups.FarthestField32;

    /// <summary><see cref="Probe"/> of what <see cref="IsPlainSum"/> is not.</summary>
    private HostAddress Probe32(in GuestInstruction i, int size, bool write)
    {
        ref readonly Instruction instruction = ref i.Iced;
        nint resume = _asm.Here;
        bool live = !i.FlagsDeadBefore;
        if (ModeRules.IsConstant(instruction))
            return ProbeConstant(i, size, write, resume);
        bool segment = instruction.SegmentPrefix is Register.FS or Register.GS;
        EffectiveAddress32(instruction);
        if (segment)
            EmitSegment32(i, size, live);
        if (i.Facts.Aligned)
            CheckAlignment(i, size, live);
        if (ProbeScratch(i.Rip, size, write, live, resume, keep: segment))
            return new HostAddress(HostRegister.Scratch, HostRegister.Rcx, 0, 0);
        if (IsRegisterAlone(instruction))
            return new HostAddress(Home(instruction.MemoryBase), HostRegister.Rcx, 0, 0);
        EffectiveAddress32(instruction);
        return new HostAddress(HostRegister.Scratch, HostRegister.Rcx, 0, 0);
    }

    private static bool IsRegisterAlone(in Instruction instruction) =>
        instruction.MemoryBase != Register.None && instruction.MemoryIndex == Register.None && instruction.MemoryDisplacement64 == 0;

    /// <summary>The offset in the segment into r14, flags untouched.</summary>
    private void EffectiveAddress32(in Instruction instruction)
    {
        int baseHome = Home(instruction.MemoryBase), indexHome = Home(instruction.MemoryIndex), displacement = (int)instruction.MemoryDisplacement64;
        if (IsRegisterAlone(instruction))
            _asm.Move(HostRegister.Scratch, baseHome); // whole: the operand will be this register
        else if (baseHome == HostRegister.None && indexHome == HostRegister.None)
            _asm.Constant(HostRegister.Scratch, (uint)displacement);
        else
            _asm.Lea32(HostRegister.Scratch, new HostAddress(baseHome, indexHome, Scale(instruction), displacement));
    }

    /// <summary>From the offset in FS or GS, which ends at 4 GiB, to the linear address, which wraps there.</summary>
    private void EmitSegment32(in GuestInstruction i, int size, bool live)
    {
        SaveFlags(live);
        ref readonly Instruction instruction = ref i.Iced;
        if (size > 1 && (instruction.MemoryBase != Register.None || instruction.MemoryIndex != Register.None))
        {
            _asm.AluImmediate(Alu.Cmp, HostRegister.Scratch, -size, wide: false);
            AddExit(Condition.Above, AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip }), live);
        }
        int segment = instruction.SegmentPrefix == Register.FS ? SegmentIndex.Fs : SegmentIndex.Gs;
        _asm.AluMemory(Alu.Add, HostRegister.Scratch, addresses.SegmentBase(segment), wide: false);
        RestoreFlags(live);
    }

    /// <summary>The operand of the probed stack slot; r14 is free again.</summary>
    private HostAddress StackSlot32(int at)
    {
        _asm.Lea32(HostRegister.Scratch, HostAddress.At(Rsp, at));
        _asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        return HostAddress.At(HostRegister.Rcx);
    }

    /// <summary>Tests whether r14 is too near to either end of the 4 GiB for a window. Returns the displacement of the jump that is taken then.</summary>
    private nint EmitMarginCheck()
    {
        _asm.Lea32(HostRegister.Rcx, HostAddress.At(HostRegister.Scratch, -(int)StackWindows.Margin));
        _asm.AluImmediate(Alu.Cmp, HostRegister.Rcx, -2 * (int)StackWindows.Margin, wide: false);
        return _asm.Jump(Condition.AboveOrEqual);
    }

    private void EmitStepRegister(in GuestInstruction i)
    {
        if (i.Iced.Op0Register.IsGPR16())
            _asm.Byte(0x66);
        _asm.OpRegister(false, 0xFF, i.Iced.Mnemonic == Mnemonic.Inc ? 0 : 1, HostRegister.Of(i.Iced.Op0Register.GetNumber()));
    }

    private void EmitAbsoluteMove(in GuestInstruction i)
    {
        bool store = i.Iced.Op0Kind == OpKind.Memory;
        int size = i.Iced.MemorySize.GetSize();
        HostAddress operand = Probe32(i, size, store);
        EmitSized(store ? 0x88 : 0x8A, size, HostRegister.Rax, operand);
    }
}
