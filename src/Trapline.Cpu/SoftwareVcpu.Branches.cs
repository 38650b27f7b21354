using Trapline.X86;

namespace Trapline.Cpu;

public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Checks a near branch target: canonical in 64-bit code, else within the code segment. False: #GP(0) pending.</summary>
    internal bool CheckTarget(ulong target)
    {
        CpuState* s = State;
        if (s->Is64 != 0)
        {
            // 48-bit canonical form without shifts: the upper 17 bits are all equal.
            if (target + (1ul << 47) < 1ul << 48)
                return true;
        }
        else if (target <= s->Cs.Limit)
        {
            return true;
        }
        GeneralProtection();
        return false;
    }
}
