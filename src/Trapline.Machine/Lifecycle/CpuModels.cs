using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>Makes the CPU model that a specification names.</summary>
internal static class CpuModels
{
    /// <exception cref="BadInputException">No such model or feature.</exception>
    public static CpuModel Resolve(CpuSpecification specification)
    {
        if (specification.Count is < 1 or > MachineConstants.MaximumVcpus)
            throw new BadInputException($"{specification.Count} CPUs: give 1 to {MachineConstants.MaximumVcpus}");
        if (specification.Model is not (null or "max"))
            throw new BadInputException($"unknown CPU model '{specification.Model}': use max");
        if (specification.Changes.Count != 0)
            throw new BadInputException("CPU features cannot be changed yet: leave them out");
        return CpuModel.Max;
    }
}
