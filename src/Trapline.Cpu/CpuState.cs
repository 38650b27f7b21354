using System.Runtime.InteropServices;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>A segment register as the engines keep it.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct SegmentRegister
{
    public ulong Base;
    public uint Limit;
    /// <summary>Bits of <see cref="SegmentAttributes"/>.</summary>
    public uint Attributes;
    public ushort Selector;
    /// <summary>1: readable by the expand-up fast check; 2: writable by it. Everything else takes the slow check.</summary>
    public byte FastRights;

    public readonly uint Dpl => (Attributes & SegmentAttributes.DplMask) >> SegmentAttributes.DplShift;
}

/// <summary>The vCPU's state in one fixed-layout native block, shared by interpreter and translator (offsets are part of the contract).</summary>
/// <remarks>
/// Arithmetic flags are lazy. They follow from three words that every flag-writing instruction stores:
/// <c>FlagResult</c>, the result sign-extended to 64 bits (ZF: zero; SF: bit 63; PF: low byte);
/// <c>FlagCarry</c>, the carries out of each bit (CF: bit 63; carry into the top bit: bit 62, so OF = 63 xor 62; AF: bit 3), see <see cref="Flags"/>;
/// <c>FlagDelta</c>, normally zero: xor-ed into the result before SF and PF are read, so that any combination can be represented.
/// <c>RFlags</c> holds all other bits, with the arithmetic ones zero.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct CpuState
{
    /// <summary>General registers in encoding order, then slot 16, always zero: what an address form without base or index reads.</summary>
    public fixed ulong Gpr[17];
    public ulong Rip;
    public ulong FlagResult;
    public ulong FlagCarry;
    public ulong FlagDelta;
    public ulong RFlags;

    /// <summary>Segment bases as address computation adds them: zero for ES, CS, SS, DS in 64-bit code; slot 6 is always zero.</summary>
    public fixed ulong AddressBase[8];

    /// <summary>The software TLB of the current privilege (see <see cref="Mmu.SoftTlb"/>).</summary>
    public ulong* ReadTlb;
    public ulong* WriteTlb;

    /// <summary>Non-zero: leave the block chain and look at <see cref="Attention"/>'s bits. Set from any thread.</summary>
    public int Attention;

    /// <summary>
    /// 0 whenever <see cref="Attention"/> is not: for emitted code, which can test for zero without touching flags. Set on the way into translated code.
    /// </summary>
    public int Calm;

    /// <summary>Non-zero: an interrupt was seen waiting while IF, or a shadow, held it off: whoever opens the gate must ask for attention.</summary>
    public int HeldInterrupt;

    /// <summary>0 to 3.</summary>
    public int Cpl;

    /// <summary>Changes whenever a cached linear-to-physical translation of code may have become wrong.</summary>
    public ulong CodeEpoch;

    /// <summary>The key under which blocks of the current mode are cached (<see cref="Interpreter.BlockMode"/>).</summary>
    public uint Mode;

    /// <summary>1 while in 64-bit code (not compatibility mode).</summary>
    public int Is64;

    /// <summary>How much of RSP addresses the stack: 0xFFFF, 0xFFFFFFFF or all ones.</summary>
    public ulong StackMask;

    public SegmentRegister Es;
    public SegmentRegister Cs;
    public SegmentRegister Ss;
    public SegmentRegister Ds;
    public SegmentRegister Fs;
    public SegmentRegister Gs;
    public SegmentRegister Ldtr;
    public SegmentRegister Tr;

    public ulong GdtrBase;
    public ulong IdtrBase;
    public ushort GdtrLimit;
    public ushort IdtrLimit;

    public uint Mxcsr;
    public ulong Cr0;
    public ulong Cr2;
    public ulong Cr3;
    public ulong Cr4;
    public ulong Efer;
    public ulong Xcr0;

    /// <summary>The four page-directory-pointer entries that a CR3 load caches in PAE mode (SDM Vol. 3, 4.4.1).</summary>
    public fixed ulong Pdpte[4];
    public uint Pkru;

    /// <summary>1: maskable interrupts held off until after the next instruction (STI).</summary>
    public byte StiShadow;
    /// <summary>1: interrupts, NMI and debug traps held off until after the next instruction (MOV SS, POP SS).</summary>
    public byte MovSsShadow;
    public byte NmiPending;
    public byte NmiBlocked;

    public fixed ulong Dr[8];
    /// <summary>Debug exceptions to deliver before the next instruction, in DR6's bits.</summary>
    public ulong PendingDebug;

    public ulong SysenterCs;
    public ulong SysenterEsp;
    public ulong SysenterEip;
    public ulong Star;
    public ulong Lstar;
    public ulong Cstar;
    public ulong Fmask;
    public ulong KernelGsBase;
    public ulong TscAux;
    public ulong TscAdjust;
    public ulong Pat;
    public ulong DebugCtl;
    public ulong Xss;
    public ulong SpecCtrl;
    public ulong MiscEnable;

    /// <summary>What the machine's counter must have added to give IA32_TSC.</summary>
    public ulong TscOffset;

    // x87: registers by physical number (R0 to R7), 16 bytes each: significand, sign and exponent, padding. MMX registers are the significands.
    public fixed ulong Fpr[16];
    public ushort Fcw;
    /// <summary>Status word without TOP, which is <see cref="FpuTop"/>.</summary>
    public ushort Fsw;
    /// <summary>Bit n set: R(n) is not empty (the abridged tag word of FXSAVE).</summary>
    public byte FpuTags;
    public byte FpuTop;
    public ushort Fop;
    public ulong Fip;
    public ulong Fdp;
    public ushort Fcs;
    public ushort Fds;

    /// <summary>YMM0 to YMM15, 32 bytes each; XMM are the low halves.</summary>
    public fixed ulong Ymm[64];

    /// <summary>Instructions completed.</summary>
    public long Instructions;
}
