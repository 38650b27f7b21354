using System.Runtime.InteropServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>
/// One decoded instruction: the handler that performs it and its operands, ready to use.
/// </summary>
/// <remarks>
/// How an instruction gets here: <see cref="Decoder"/> decodes with Iced, fills the common fields, and calls the binder that a family registered
/// for the mnemonic in <see cref="Binders"/>; the binder picks a handler and fills the operand fields through <see cref="OpBuilder"/>.
///
/// A handler is a static method <c>int Name(SoftwareVcpu cpu, CpuState* s, Op* op)</c>. It returns
/// <see cref="Status.Next"/> (go on with the following op), <see cref="Status.BlockEnd"/> (it has set <c>s->Rip</c>; leave the block: every
/// transfer of control, and everything that changes mode, privilege, paging or the interrupt flag), or what <c>cpu.Fault…</c> returned.
/// Rules: nothing may be changed before the last thing that can fault (registers and flags included); no allocation; no exceptions.
/// Memory operands: <c>TAddress.Linear(...)</c> gives the linear address after segment checks, then <see cref="GuestAccess"/> loads or stores.
/// The block's last op, if no instruction ends it, is one that sets RIP.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Op
{
    public delegate*<SoftwareVcpu, CpuState*, Op*, int> Run;

    /// <summary>RIP of the following instruction (truncated to the code size's width).</summary>
    public ulong NextRip;

    /// <summary>Address displacement, sign-extended; RIP-relative addresses are folded in.</summary>
    public ulong Disp;

    /// <summary>Immediate, sign-extended where the instruction does; branch target for near branches.</summary>
    public ulong Imm;

    /// <summary>Byte offset into <see cref="CpuState"/> of the first register operand (so AH is RAX's offset plus 1).</summary>
    public ushort Dst;

    /// <summary>Byte offset of the second register operand.</summary>
    public ushort Src;

    /// <summary>Byte offset of a third register operand (VEX.vvvv and the like).</summary>
    public ushort Src2;

    /// <summary>Iced's <c>Code</c>, for handlers shared by many instructions, traces and tools.</summary>
    public ushort Code;

    /// <summary>Slot of the base register in <see cref="CpuState.Gpr"/>; 16 if none.</summary>
    public byte Base;

    /// <summary>Slot of the index register; 16 if none.</summary>
    public byte Index;

    /// <summary>Log2 of the scale.</summary>
    public byte Scale;

    /// <summary>Segment of the memory operand (<see cref="X86.SegmentIndex"/>).</summary>
    public byte Segment;

    /// <summary>Bytes of the instruction.</summary>
    public byte Length;

    /// <summary>Address width in bytes: 2, 4 or 8.</summary>
    public byte AddressSize;

    /// <summary>Operand width in bytes where the handler needs it at run time.</summary>
    public byte OperandSize;

    /// <summary>Bits of <see cref="OpFlags"/>.</summary>
    public OpFlags Flags;

    public readonly ulong Rip => NextRip - Length;
}

[Flags]
public enum OpFlags : byte
{
    None = 0,
    Lock = 1,
    Rep = 2,
    Repne = 4,
    /// <summary>VEX-encoded: three operands, upper halves zeroed.</summary>
    Vex = 8,
    /// <summary>VEX.L = 1: 256-bit.</summary>
    Wide = 16,
    /// <summary>The r/m operand is in memory.</summary>
    Memory = 32,
    /// <summary>The memory operand fits <see cref="Flat64"/>: for handlers that choose the address form at run time.</summary>
    Flat = 64,
    /// <summary>What <see cref="Op.Disp"/> (with <see cref="Memory"/>) or <see cref="Op.Imm"/> holds is an address relative to RIP.</summary>
    Relative = 128,
}

/// <summary>What a handler returns. Anything but <see cref="Next"/> leaves the block.</summary>
public static class Status
{
    public const int Next = 0;
    public const int BlockEnd = 1;
    /// <summary>An exception is pending in the vCPU; state is as before the instruction.</summary>
    public const int Fault = 2;
    /// <summary>HLT or MWAIT: RIP is set, the vCPU waits.</summary>
    public const int Halt = 3;
}
