using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>A vCPU as a part of the board that is saved: what its engine exports.</summary>
internal sealed class SavedVcpu(VcpuThread vcpu) : ISavedDevice<VcpuState>
{
    public VcpuState Save() => vcpu.Engine.Export();

    public void Restore(VcpuState state) => vcpu.Engine.Import(state);
}
