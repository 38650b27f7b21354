namespace Trapline.X86;

/// <summary>What is left of a model on a processor that has less.</summary>
public sealed partial class CpuModel
{
    /// <summary>The same model less the features that another CPUID does not name, and less what needs those.</summary>
    /// <param name="host">Answers for the processor that is to run the model, by leaf and subleaf.</param>
    /// <param name="regardless">Features that do not come from that processor and therefore stay.</param>
    public CpuModel RestrictedTo(Func<uint, uint, CpuidResult> host, IReadOnlyCollection<Feature> regardless)
    {
        HashSet<Feature> features = [.. Features];
        foreach (FeatureBit bit in CpuFeatures.Bits)
        {
            if (bit.Leaf == 0 || regardless.Contains(bit.Feature) || !Has(bit.Feature))
                continue;
            CpuidResult answer = host(bit.Leaf, bit.Subleaf);
            uint register = bit.Register switch { 0 => answer.Eax, 1 => answer.Ebx, 2 => answer.Ecx, _ => answer.Edx };
            if ((register >> bit.Bit & 1) == 0)
                CpuFeatures.Remove(features, bit.Feature);
        }
        return new CpuModel(Name, IsIntel, Signature, features) { TscFrequency = TscFrequency };
    }
}
