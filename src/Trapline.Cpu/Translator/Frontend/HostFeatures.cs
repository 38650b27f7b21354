using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>Which instructions this host can run natively.</summary>
public static class HostFeatures
{
    /// <summary>What emitted code itself needs: RORX.</summary>
    public static bool Translate => OperatingSystem.IsLinux() && Bmi2.X64.IsSupported && Avx.IsSupported;

    /// <summary>PEXT takes a few cycles, not hundreds: all but AMD's processors before family 19h (their optimization guides).</summary>
    public static bool FastExtract { get; } = Bmi2.X64.IsSupported && !(IsAmd && Family < 0x19);

    private static bool IsAmd => X86Base.CpuId(0, 0).Ebx == 0x68747541; // "Auth"

    private static int Family
    {
        get
        {
            int eax = X86Base.CpuId(1, 0).Eax, family = eax >> 8 & 15;
            return family == 15 ? family + (eax >> 20 & 0xFF) : family;
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
            or CpuidFeature.MMX => true,
        CpuidFeature.CMPXCHG16B => CpuidBit(1, ecx: 13),
        CpuidFeature.SSE or CpuidFeature.SSE2 => Sse2.IsSupported,
        CpuidFeature.SSE3 => Sse3.IsSupported,
        CpuidFeature.SSSE3 => Ssse3.IsSupported,
        CpuidFeature.SSE4_1 => Sse41.IsSupported,
        CpuidFeature.SSE4_2 => Sse42.IsSupported,
        CpuidFeature.POPCNT => Popcnt.IsSupported,
        CpuidFeature.LZCNT => Lzcnt.IsSupported,
        CpuidFeature.BMI1 => Bmi1.IsSupported,
        CpuidFeature.BMI2 => Bmi2.IsSupported,
        CpuidFeature.AVX => Avx.IsSupported,
        CpuidFeature.AVX2 => Avx2.IsSupported,
        CpuidFeature.FMA => Fma.IsSupported,
        CpuidFeature.AES => Aes.IsSupported,
        CpuidFeature.PCLMULQDQ => Pclmulqdq.IsSupported,
        CpuidFeature.VAES or CpuidFeature.VPCLMULQDQ => Pclmulqdq.V256.IsSupported,
        CpuidFeature.SHA => CpuidBit(7, ebx: 29),
        CpuidFeature.ADX => CpuidBit(7, ebx: 19),
        CpuidFeature.F16C => CpuidBit(1, ecx: 29),
        CpuidFeature.MOVBE => CpuidBit(1, ecx: 22),
        CpuidFeature.PREFETCHW => true,
        CpuidFeature.TSC or CpuidFeature.RDTSCP or CpuidFeature.PKU or CpuidFeature.SMAP => true, // done without the host's own
        _ => false,
    };

    private static bool CpuidBit(int leaf, int ebx = -1, int ecx = -1)
    {
        (_, int b, int c, _) = X86Base.CpuId(leaf, 0);
        return ebx >= 0 ? (b >> ebx & 1) != 0 : (c >> ecx & 1) != 0;
    }
}
