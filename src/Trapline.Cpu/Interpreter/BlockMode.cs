using Trapline.Cpu.Mmu;

namespace Trapline.Cpu.Interpreter;

/// <summary>What decoding depends on besides the bytes: the key of a block beside its address.</summary>
public static class BlockMode
{
    /// <summary>Code size 0: 16-bit, 1: 32-bit, 2: 64-bit.</summary>
    public const uint SizeMask = 3;
    public const uint Code16 = 0;
    public const uint Code32 = 1;
    public const uint Code64 = 2;

    /// <summary>One instruction per block: single-stepping, interrupt shadows, breakpoints.</summary>
    public const uint Single = 4;

    /// <summary>
    /// CS, DS, ES and SS are flat (base 0, limit 4 GiB, data readable and writable), so limits need no check, and the stack pointer is as wide as the
    /// code. Always set in 64-bit code.
    /// </summary>
    public const uint Flat = 8;

    /// <summary>Real or virtual-8086 mode, where VEX-encoded instructions are undefined.</summary>
    public const uint Legacy = 16;

    /// <summary>Vector instructions are not available: CR0.EM or TS set, or CR4.OSFXSR, OSXSAVE or the XCR0 bits clear.</summary>
    public const uint NoVectors = 32;

    /// <summary>x87 instructions are not available: CR0.EM or TS set.</summary>
    public const uint NoX87 = 1024;

    /// <summary>The soft TLB's context in two bits: translated code has its arrays' addresses built in.</summary>
    public const int ContextShift = 6;
    public const uint ContextMask = 3u << ContextShift;

    /// <summary>Outside 64-bit code: FS, or GS, reaches all 4 GiB for reading and writing, from whatever base.</summary>
    public const uint WideFs = 256;
    public const uint WideGs = 512;

    public static int Context(uint mode) => (int)((mode & ContextMask) >> ContextShift);

    /// <summary>
    /// Code at this address may lie elsewhere in another process: programs that are not position-independent lie below 4 GiB, and there is one kernel.
    /// Within 4 GiB of the canonical addresses' end it would matter whether a jump leads beyond it.
    /// </summary>
    public static bool IsMovable(uint mode, ulong rip) =>
        Context(mode) == SoftTlb.User && (mode & SizeMask) == Code64 && rip is > uint.MaxValue and < (1ul << 47) - uint.MaxValue;

    public static int Bitness(uint mode) => (mode & SizeMask) switch { Code16 => 16, Code32 => 32, _ => 64 };
}
