using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>Which instructions the guest's CPU model has: the host may run more than the guest was promised, and #UD is part of the promise.</summary>
/// <remarks>LZCNT and TZCNT are other instructions on a model without them; the interpreter knows.</remarks>
public sealed class ModelFeatures(CpuModel model)
{
    private readonly sbyte[] _known = new sbyte[CodeFacts.Codes];

    public bool Has(in Instruction instruction)
    {
        ref sbyte known = ref _known[(int)instruction.Code];
        if (known == 0)
            known = (sbyte)(Array.TrueForAll(instruction.CpuidFeatures, Has) && HasLahf(instruction) ? 1 : -1);
        return known > 0;
    }

    private bool HasLahf(in Instruction instruction) => instruction.Mnemonic is not (Mnemonic.Lahf or Mnemonic.Sahf) || model.Has(Feature.LahfLm);

    private bool Has(CpuidFeature feature) => feature switch
    {
        CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387 => model.Has(Feature.Fpu),
        CpuidFeature.MMX => model.Has(Feature.Mmx),
        CpuidFeature.TSC => model.Has(Feature.Tsc),
        CpuidFeature.RDTSCP => model.Has(Feature.Rdtscp),
        CpuidFeature.CMOV => model.Has(Feature.Cmov),
        CpuidFeature.SSE => model.Has(Feature.Sse),
        CpuidFeature.SSE2 => model.Has(Feature.Sse2),
        CpuidFeature.SSE3 => model.Has(Feature.Sse3),
        CpuidFeature.SSSE3 => model.Has(Feature.Ssse3),
        CpuidFeature.SSE4_1 => model.Has(Feature.Sse41),
        CpuidFeature.SSE4_2 => model.Has(Feature.Sse42),
        CpuidFeature.POPCNT => model.Has(Feature.Popcnt),
        CpuidFeature.LZCNT => model.Has(Feature.Lzcnt),
        CpuidFeature.BMI1 => model.Has(Feature.Bmi1),
        CpuidFeature.BMI2 => model.Has(Feature.Bmi2),
        CpuidFeature.AVX => model.Has(Feature.Avx),
        CpuidFeature.AVX2 => model.Has(Feature.Avx2),
        CpuidFeature.FMA => model.Has(Feature.Fma),
        CpuidFeature.AES => model.Has(Feature.Aes),
        CpuidFeature.PCLMULQDQ => model.Has(Feature.Pclmulqdq),
        CpuidFeature.VAES => model.Has(Feature.Vaes),
        CpuidFeature.VPCLMULQDQ => model.Has(Feature.Vpclmulqdq),
        CpuidFeature.SHA => model.Has(Feature.Sha),
        CpuidFeature.ADX => model.Has(Feature.Adx),
        CpuidFeature.F16C => model.Has(Feature.F16c),
        CpuidFeature.PKU => model.Has(Feature.Pku),
        CpuidFeature.SMAP => model.Has(Feature.Smap),
        CpuidFeature.MOVBE => model.Has(Feature.Movbe),
        _ => true,
    };
}
