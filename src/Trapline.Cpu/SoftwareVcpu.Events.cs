using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>DR6 bits (SDM Vol. 3, 17.2.3).</summary>
public static class DebugStatus
{
    public const ulong RegisterAccess = 1 << 13;
    public const ulong SingleStep = 1 << 14;
    public const ulong TaskSwitch = 1 << 15;
}

/// <summary>Delivery of exceptions and interrupts through the IVT, the IDT and gates (SDM Vol. 3, chapter 6).</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Delivers a fault. <see cref="Status.Fault"/>: delivering it faulted in turn, and that fault is pending.</summary>
    private int DeliverFault(PendingFault fault)
    {
        _delivering = fault.Vector;
        return Fault(Vector.DoubleFault);
    }

    private void DeliverPendingDebug() => State->PendingDebug = 0;

    private void DeliverNmi() { }

    private void DeliverExternal(byte vector) { }

    /// <summary>True if an enabled instruction breakpoint covers CS:RIP; #DB is then pending.</summary>
    private bool MatchCodeBreakpoints() => false;
}
