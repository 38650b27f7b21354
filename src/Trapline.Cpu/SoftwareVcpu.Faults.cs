using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>An exception on its way to the guest.</summary>
public struct PendingFault
{
    public byte Vector;
    public bool HasErrorCode;
    public uint ErrorCode;
    /// <summary>For #PF: goes to CR2 on delivery.</summary>
    public ulong Address;
}

public sealed unsafe partial class SoftwareVcpu
{
    private PendingFault _fault;

    /// <summary>Makes an exception without error code pending. Returns <see cref="Status.Fault"/>, for handlers to return in turn.</summary>
    internal int Fault(byte vector)
    {
        _fault = new PendingFault { Vector = vector };
        return Status.Fault;
    }

    /// <summary>Makes an exception with an error code pending.</summary>
    internal int FaultCode(byte vector, uint errorCode)
    {
        _fault = new PendingFault { Vector = vector, HasErrorCode = true, ErrorCode = errorCode };
        return Status.Fault;
    }

    internal int PageFault(ulong linear, uint errorCode)
    {
        _pageFaults++;
        _fault = new PendingFault { Vector = Vector.PageFault, HasErrorCode = true, ErrorCode = errorCode, Address = linear };
        return Status.Fault;
    }

    /// <summary>
    /// A gather faulted after some of its elements: if a trap is due, it comes first, and the instruction goes on after the trap's handler. RF keeps a
    /// breakpoint on it from matching twice (SDM Vol. 2, VPGATHERDD). False: deliver the fault.
    /// </summary>
    internal bool TrapInsteadOfFault(Op* op)
    {
        if ((State->RFlags & Rflags.Tf) == 0 && State->PendingDebug == 0)
            return false;
        State->Rip = op->Rip;
        State->RFlags |= Rflags.Rf;
        RequestStep();
        return true;
    }

    /// <summary>#GP(0), the most common refusal.</summary>
    internal int GeneralProtection() => FaultCode(Vector.GeneralProtection, 0);

    internal int Undefined() => Fault(Vector.InvalidOpcode);
}
