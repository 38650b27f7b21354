using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>
/// Which instructions this host can run natively, by CPUID: a program that is compiled ahead of time answers <c>IsSupported</c> by what it is compiled for.
/// </summary>
public static class HostFeatures
{
    // CPUID's answers are read once: under a hypervisor each costs an exit.
    private static readonly (int Eax, int Ebx, int Ecx, int Edx) Basic = Leaf(1), Structured = Leaf(7), Extended = Leaf(unchecked((int)0x8000_0001));

    /// <summary>
    /// Whether the operating system keeps YMM registers: the runtime has asked it. Compiled ahead of time this is true only in a program for x86-64-v3,
    /// which is what <c>./trapline</c> builds on such a host.
    /// </summary>
    private static readonly bool KeepsYmm = Avx.IsSupported;

    /// <summary>What emitted code itself needs: RORX.</summary>
    public static bool Translate { get; } = OperatingSystem.IsLinux() && Environment.Is64BitProcess && Has(CpuidFeature.BMI2) && Has(CpuidFeature.AVX);

    /// <summary>PEXT takes a few cycles, not hundreds: all but AMD's processors before family 19h (their optimization guides).</summary>
    public static bool FastExtract { get; } = Has(CpuidFeature.BMI2) && !(IsAmd && Family < 0x19);

    private static bool IsAmd => Leaf(0).Ebx == 0x68747541; // "Auth"

    private static int Family
    {
        get
        {
            int family = Basic.Eax >> 8 & 15;
            return family == 15 ? family + (Basic.Eax >> 20 & 0xFF) : family;
        }
    }

    public static bool Run(in Instruction instruction)
    {
        foreach (CpuidFeature feature in instruction.CpuidFeatures)
            if (!Has(feature))
                return false;
        return true;
    }

    private static bool Has(CpuidFeature feature) => feature switch
    {
        CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL286 or CpuidFeature.INTEL386 or CpuidFeature.INTEL486
            or CpuidFeature.X64 or CpuidFeature.CMOV or CpuidFeature.MULTIBYTENOP or CpuidFeature.CET_IBT or CpuidFeature.CX8
            or CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387
            or CpuidFeature.MMX or CpuidFeature.SSE or CpuidFeature.SSE2 => true,
        CpuidFeature.CMPXCHG16B => Bit(Basic.Ecx, 13),
        CpuidFeature.SSE3 => Bit(Basic.Ecx, 0),
        CpuidFeature.SSSE3 => Bit(Basic.Ecx, 9),
        CpuidFeature.SSE4_1 => Bit(Basic.Ecx, 19),
        CpuidFeature.SSE4_2 => Bit(Basic.Ecx, 20),
        CpuidFeature.POPCNT => Bit(Basic.Ecx, 23),
        CpuidFeature.AES => Bit(Basic.Ecx, 25),
        CpuidFeature.PCLMULQDQ => Bit(Basic.Ecx, 1),
        CpuidFeature.MOVBE => Bit(Basic.Ecx, 22),
        CpuidFeature.AVX => KeepsYmm && Bit(Basic.Ecx, 28),
        CpuidFeature.FMA => KeepsYmm && Bit(Basic.Ecx, 12),
        CpuidFeature.F16C => KeepsYmm && Bit(Basic.Ecx, 29),
        CpuidFeature.AVX2 => KeepsYmm && Bit(Structured.Ebx, 5),
        CpuidFeature.VAES => KeepsYmm && Bit(Structured.Ecx, 9),
        CpuidFeature.VPCLMULQDQ => KeepsYmm && Bit(Structured.Ecx, 10),
        CpuidFeature.BMI1 => Bit(Structured.Ebx, 3),
        CpuidFeature.BMI2 => Bit(Structured.Ebx, 8),
        CpuidFeature.ADX => Bit(Structured.Ebx, 19),
        CpuidFeature.SHA => Bit(Structured.Ebx, 29),
        CpuidFeature.LZCNT => Bit(Extended.Ecx, 5),
        CpuidFeature.PREFETCHW => true,
        CpuidFeature.TSC or CpuidFeature.RDTSCP or CpuidFeature.PKU or CpuidFeature.SMAP => true, // done without the host's own
        _ => false,
    };

    private static bool Bit(int word, int bit) => (word >> bit & 1) != 0;

    /// <summary>A leaf's first sub-leaf, zeros where the processor has no such leaf or is no x86.</summary>
    private static (int Eax, int Ebx, int Ecx, int Edx) Leaf(int leaf) =>
        X86Base.IsSupported && (uint)X86Base.CpuId(leaf & unchecked((int)0x8000_0000), 0).Eax >= (uint)leaf ? X86Base.CpuId(leaf, 0) : default;
}
