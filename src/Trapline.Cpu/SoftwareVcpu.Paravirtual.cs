using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>What the machine's paravirtual interface needs of the engine.</summary>
public sealed unsafe partial class SoftwareVcpu : IParavirtualEngine
{
    public void LeaveHalt()
    {
        if (_activity == VcpuActivity.Halted)
            _activity = VcpuActivity.Running;
    }

    public void FlushTranslations() => Mmu.FlushAll();
}
