using Trapline.Core;

namespace Trapline.Machine;

/// <summary>Shows the vectors that a vCPU accepts; stands before the local APIC only while interrupts are traced.</summary>
internal sealed class TracedInterrupts(int vcpu, IInterruptSource source, MachineTrace trace) : IInterruptSource
{
    public bool Pending => source.Pending;

    public int Acknowledge()
    {
        int vector = source.Acknowledge();
        trace.Interrupt(vcpu, "interrupt", vector);
        return vector;
    }
}
