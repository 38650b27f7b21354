using System.Runtime.InteropServices;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter;

/// <summary>What a binder works with: the decoded instruction, the op to fill, and the operand translations that all families share.</summary>
public unsafe ref struct OpBuilder
{
    /// <summary>The slot that always reads as zero.</summary>
    public const byte NoRegister = 16;

    private static readonly int YmmOffset = (int)Marshal.OffsetOf<CpuState>(nameof(CpuState.Ymm));
    private static readonly int FprOffset = (int)Marshal.OffsetOf<CpuState>(nameof(CpuState.Fpr));

    public readonly Instruction Instruction;
    public readonly Op* Op;
    public readonly uint Mode;
    public readonly CpuModel Model;

    /// <summary>Set it when the handler never returns <see cref="Status.Next"/>.</summary>
    public bool EndsBlock;

    public OpBuilder(in Instruction instruction, Op* op, uint mode, CpuModel model)
    {
        Instruction = instruction;
        Op = op;
        Mode = mode;
        Model = model;
    }

    public readonly bool Is64 => (Mode & BlockMode.SizeMask) == BlockMode.Code64;

    public readonly OpKind Kind(int operand) => Instruction.GetOpKind(operand);
    public readonly bool IsRegister(int operand) => Kind(operand) == OpKind.Register;

    public readonly bool IsMemory(int operand) => Kind(operand) == OpKind.Memory;

    /// <summary>Bytes of a general register operand.</summary>
    public readonly int RegisterSize(int operand) => Instruction.GetOpRegister(operand).GetSize();

    /// <summary>Width of the first operand (a register's, else the memory operand's) in bytes.</summary>
    public readonly int OperandSize() => IsRegister(0) ? RegisterSize(0) : Instruction.MemorySize.GetSize();

    /// <summary>The state offset of a register: general (AH to BH too), XMM, YMM, MMX.</summary>
    public static ushort Offset(Register register)
    {
        if (register is >= Register.AH and <= Register.BH)
            return (ushort)((register - Register.AH) * 8 + 1);
        if (register.IsGPR())
            return (ushort)(register.GetFullRegister().GetNumber() * 8); // byte registers are numbered apart in Iced
        if (register.IsXMM() || register.IsYMM())
            return (ushort)(YmmOffset + register.GetNumber() * 32);
        if (register.IsMM())
            return (ushort)(FprOffset + register.GetNumber() * 16);
        return 0;
    }

    public readonly ushort Offset(int operand) => Offset(Instruction.GetOpRegister(operand));

    /// <summary>The immediate, sign-extended as the instruction does.</summary>
    public readonly ulong Immediate(int operand) => Instruction.GetImmediate(operand);

    /// <summary>Fills the memory fields and tells which address form fits.</summary>
    public readonly AddressForm Memory()
    {
        Op->Flags |= OpFlags.Memory;
        Register based = Instruction.MemoryBase, index = Instruction.MemoryIndex;
        int size = AddressSizeOf(based, index);
        Op->AddressSize = (byte)size;
        Op->Base = Slot(based);
        Op->Index = Slot(index);
        Op->Scale = (byte)(Instruction.MemoryIndexScale switch { 2 => 1, 4 => 2, 8 => 3, _ => 0 });
        Op->Disp = Instruction.MemoryDisplacement64; // RIP-relative: already the target
        if (Instruction.IsIPRelativeMemoryOperand)
            Op->Flags |= OpFlags.Relative;
        Op->Segment = (byte)SegmentNumber(Instruction.MemorySegment);
        if (Is64)
            return size == 8 ? AddressForm.Flat64 : AddressForm.General;
        bool flat = (Mode & BlockMode.Flat) != 0 && (Mode & BlockMode.SizeMask) == BlockMode.Code32 && size == 4;
        return flat && Op->Segment is SegmentIndex.Ds or SegmentIndex.Es or SegmentIndex.Ss && flat ? AddressForm.Flat32 : AddressForm.General;
    }

    private readonly int AddressSizeOf(Register based, Register index)
    {
        Register named = based != Register.None ? based : index;
        if (named is Register.RIP)
            return 8;
        if (named is Register.EIP)
            return 4;
        if (named != Register.None)
            return named.GetSize();
        return Instruction.MemoryDisplSize switch { 2 => 2, 4 => Is64 ? 4 : 4, 8 => 8, _ => Is64 ? 8 : (Mode & BlockMode.SizeMask) == BlockMode.Code16 ? 2 : 4 };
    }

    /// <summary>Slot of an address register: RIP counts as none since its value is in the displacement.</summary>
    private static byte Slot(Register register) =>
        register is Register.None or Register.RIP or Register.EIP ? NoRegister : (byte)register.GetNumber();

    public static int SegmentNumber(Register segment) => segment switch
    {
        Register.ES => SegmentIndex.Es,
        Register.CS => SegmentIndex.Cs,
        Register.SS => SegmentIndex.Ss,
        Register.FS => SegmentIndex.Fs,
        Register.GS => SegmentIndex.Gs,
        _ => SegmentIndex.Ds,
    };

    /// <summary>LOCK is legal only on the instructions that list it, with a memory destination (SDM Vol. 2, LOCK).</summary>
    public readonly bool LockIsLegal => !Instruction.HasLockPrefix || IsMemory(0);
}

public enum AddressForm
{
    Flat64,
    Flat32,
    General,
}
