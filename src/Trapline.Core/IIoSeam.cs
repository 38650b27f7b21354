namespace Trapline.Core;

/// <summary>The one contract through which every engine reports guest I/O to the machine; exits are counted, timed and traced behind it.</summary>
public interface IIoSeam
{
    /// <summary>IN of 1, 2 or 4 bytes.</summary>
    uint PortIn(int vcpu, ushort port, int size);

    /// <summary>OUT of 1, 2 or 4 bytes.</summary>
    void PortOut(int vcpu, ushort port, int size, uint value);

    /// <summary>A load of 1, 2, 4 or 8 bytes from guest-physical space that is not RAM; all ones from a hole.</summary>
    ulong MmioRead(int vcpu, Gpa address, int size);

    /// <summary>A store of 1, 2, 4 or 8 bytes to guest-physical space that is not writable RAM.</summary>
    void MmioWrite(int vcpu, Gpa address, int size, ulong value);

    /// <summary>RDMSR of a register that the engine does not own (local APIC, MTRR and the like); false means #GP.</summary>
    bool ReadMsr(int vcpu, uint index, out ulong value);

    /// <summary>WRMSR of a register that the engine does not own; false means #GP.</summary>
    bool WriteMsr(int vcpu, uint index, ulong value);

    /// <summary>MOV from CR8: the task priority register's class, 0 to 15.</summary>
    byte ReadCr8(int vcpu);

    /// <summary>MOV to CR8, 0 to 15.</summary>
    void WriteCr8(int vcpu, byte value);

    /// <summary>VMCALL or VMMCALL in ring 0; the result replaces RAX.</summary>
    /// <param name="registers">The sixteen general registers.</param>
    /// <param name="is64">64-bit code; other callers' registers have their upper halves cleared, and only half of a result is theirs.</param>
    void Hypercall(int vcpu, Span<ulong> registers, bool is64);

    /// <summary>The virtual time-stamp counter, before the guest's own adjustment.</summary>
    ulong TimeStampCounter { get; }

    /// <summary>
    /// <see cref="TimeStampCounter"/> minus the host's monotonic clock in nanoseconds, while it counts those; null: it stands, or counts something else. Changes only
    /// while no vCPU runs.
    /// </summary>
    ulong? TimeStampLead => null;

    /// <summary>The vCPU's own counter is now <see cref="TimeStampCounter"/> plus this, modulo 2^64; zero until said otherwise.</summary>
    void TimeStampOffsetChanged(int vcpu, ulong offset);
}

/// <summary>What an engine asks of the interrupt controllers in front of one vCPU.</summary>
public interface IInterruptSource
{
    /// <summary>True while a maskable interrupt is deliverable. Read without a lock at every event check.</summary>
    bool Pending { get; }

    /// <summary>Accepts the highest-priority interrupt (the INTA cycle) and returns its vector, or -1 if it went away.</summary>
    int Acknowledge();
}

/// <summary>Events that interrupt controllers send to one vCPU, from any thread.</summary>
public interface IVcpuSignals
{
    /// <summary><see cref="IInterruptSource.Pending"/> may have become true: leave the current block soon, or wake from HLT.</summary>
    void InterruptPending();

    void NonMaskableInterrupt();

    /// <summary>INIT: reset to wait-for-SIPI (application processors) or to the reset vector.</summary>
    void Init();

    /// <summary>Start-up IPI: begin at <paramref name="vector"/> * 4096 in real mode.</summary>
    void StartUp(byte vector);
}
