using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Reset, INIT and the exchange of the architectural state with other engines.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    public void Reset() { }

    private void ResetByInit() { }

    private void BeginAt(byte vector) { }

    public VcpuState Export() => new();

    public void Import(VcpuState state) { }
}
