using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Which model features an instruction needs, from Iced's tables: one gate for every vector family.</summary>
internal static class VectorFeatures
{
    /// <summary>False if the model lacks any feature of the instruction, or if it belongs to a set that no model has (AVX-512, XOP, 3DNow!).</summary>
    public static bool Allow(ref OpBuilder b)
    {
        foreach (CpuidFeature feature in b.Instruction.CpuidFeatures)
            if (Map(feature) is not { } needed || !b.Model.Has(needed))
                return false;
        return true;
    }

    internal static Feature? Map(CpuidFeature feature) => feature switch
    {
        CpuidFeature.MMX => Feature.Mmx,
        CpuidFeature.SSE => Feature.Sse,
        CpuidFeature.SSE2 => Feature.Sse2,
        CpuidFeature.SSE3 => Feature.Sse3,
        CpuidFeature.SSSE3 => Feature.Ssse3,
        CpuidFeature.SSE4_1 => Feature.Sse41,
        CpuidFeature.SSE4_2 => Feature.Sse42,
        CpuidFeature.SSE4A => Feature.Sse4a,
        CpuidFeature.AES => Feature.Aes,
        CpuidFeature.PCLMULQDQ => Feature.Pclmulqdq,
        CpuidFeature.SHA => Feature.Sha,
        CpuidFeature.AVX => Feature.Avx,
        CpuidFeature.AVX2 => Feature.Avx2,
        CpuidFeature.FMA => Feature.Fma,
        CpuidFeature.F16C => Feature.F16c,
        CpuidFeature.VAES => Feature.Vaes,
        CpuidFeature.VPCLMULQDQ => Feature.Vpclmulqdq,
        CpuidFeature.FXSR => Feature.Fxsr,
        CpuidFeature.XSAVE => Feature.Xsave,
        CpuidFeature.XSAVEOPT => Feature.XsaveOpt,
        CpuidFeature.XSAVEC => Feature.XsaveC,
        CpuidFeature.XSAVES => Feature.XsaveS,
        _ => null,
    };
}
