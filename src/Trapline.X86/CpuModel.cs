namespace Trapline.X86;

/// <summary>One CPUID answer.</summary>
public readonly record struct CpuidResult(uint Eax, uint Ebx, uint Ecx, uint Edx);

/// <summary>What CPUID depends on besides the model (SDM Vol. 2, CPUID).</summary>
public readonly record struct CpuidInputs(uint ApicId, int CpuCount, ulong Cr4, ulong Xcr0, ulong Xss, bool ApicOff = false);

/// <summary>What a vCPU says it is and therefore does: the instruction sets, modes and MSRs of one CPU model.</summary>
/// <remarks>A feature that a model has not is absent everywhere: CPUID does not name it and its instructions raise #UD.</remarks>
public sealed partial class CpuModel
{
    private readonly bool[] _features = new bool[Enum.GetValues<Feature>().Length];
    private readonly uint[] _masks;

    private CpuModel(string name, bool isIntel, uint signature, IEnumerable<Feature> features)
    {
        Name = name;
        IsIntel = isIntel;
        Signature = signature;
        foreach (Feature feature in features)
            _features[(int)feature] = true;
        _masks = FeatureMasks();
    }

    public string Name { get; }

    /// <summary>GenuineIntel; otherwise AuthenticAMD.</summary>
    public bool IsIntel { get; }

    /// <summary>Family, model and stepping as CPUID leaf 1 and EDX at reset give them.</summary>
    public uint Signature { get; }

    /// <summary>The frequency of the TSC and of the local APIC's timer, in hertz.</summary>
    public ulong TscFrequency { get; private init; } = 1_000_000_000;

    /// <summary>Width of guest-physical addresses.</summary>
    public int PhysicalAddressBits => 40;

    /// <summary>Width of canonical linear addresses.</summary>
    public int LinearAddressBits => 48;

    public bool Has(Feature feature) => _features[(int)feature];

    /// <summary>The features it has.</summary>
    public IEnumerable<Feature> Features => Enum.GetValues<Feature>().Where(Has);

    /// <summary>The same model on a machine with another time-stamp frequency.</summary>
    public CpuModel WithTscFrequency(ulong hertz) => new(Name, IsIntel, Signature, Features) { TscFrequency = hertz };
}
