namespace Trapline.X86;

/// <summary>One CPUID answer.</summary>
public readonly record struct CpuidResult(uint Eax, uint Ebx, uint Ecx, uint Edx);

/// <summary>What a vCPU says it is and therefore does: the instruction sets, modes and MSRs of one CPU model.</summary>
/// <remarks>A feature that a model has not is absent everywhere: CPUID does not name it and its instructions raise #UD.</remarks>
public sealed partial class CpuModel
{
    private readonly bool[] _features = new bool[Enum.GetValues<Feature>().Length];

    private CpuModel(string name, IEnumerable<Feature> features)
    {
        Name = name;
        foreach (Feature feature in features)
            _features[(int)feature] = true;
    }

    public string Name { get; }

    /// <summary>Width of guest-physical addresses.</summary>
    public int PhysicalAddressBits => 40;

    /// <summary>Width of canonical linear addresses.</summary>
    public int LinearAddressBits => 48;

    public bool Has(Feature feature) => _features[(int)feature];

    /// <summary>Everything that Trapline's software CPU can do.</summary>
    public static CpuModel Max { get; } = new("max", Enum.GetValues<Feature>().Except([Feature.Sse4a, Feature.La57]));
}
