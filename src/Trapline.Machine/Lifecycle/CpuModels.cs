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
        CpuModel? model = CpuModel.Create(specification.Model, specification.Changes.Select(change => (change.Feature, change.Present)), out string message);
        return (model ?? throw new BadInputException(message)).WithTscFrequency((ulong)MachineConstants.TscHertz);
    }
}
