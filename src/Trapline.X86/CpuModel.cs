namespace Trapline.X86;

/// <summary>One CPUID answer.</summary>
public readonly record struct CpuidResult(uint Eax, uint Ebx, uint Ecx, uint Edx);

/// <summary>What a vCPU says it is and therefore does: the instruction sets, modes and MSRs of one CPU model.</summary>
/// <remarks>A feature that is not in <see cref="Has"/> is absent everywhere: CPUID does not name it and its instructions raise #UD.</remarks>
public sealed partial class CpuModel
{
}
