using System.Runtime.InteropServices;

namespace Trapline.Kvm.Abi;

/// <summary>Why KVM_RUN returned (api.rst 5, exit_reason).</summary>
internal enum KvmExit : uint
{
    Unknown = 0,
    Exception = 1,
    Io = 2,
    Hypercall = 3,
    Debug = 4,
    Halt = 5,
    Mmio = 6,
    InterruptWindowOpen = 7,
    Shutdown = 8,
    FailedEntry = 9,
    Interrupted = 10,
    SetTaskPriority = 11,
    TaskPriorityAccess = 12,
    NonMaskableInterrupt = 16,
    InternalError = 17,
    SystemEvent = 24,
    IoApicEndOfInterrupt = 26,
    ReadMsr = 29,
    WriteMsr = 30,
    MemoryFault = 39,
}

/// <summary>The page that KVM shares with whoever runs a vCPU (api.rst 5, the kvm_run structure).</summary>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct KvmRun
{
    /// <summary>In: return with <see cref="KvmExit.InterruptWindowOpen"/> as soon as an interrupt can be delivered.</summary>
    [FieldOffset(0)] public byte RequestInterruptWindow;

    /// <summary>In: finish what the last exit began, and return at once.</summary>
    [FieldOffset(1)] public byte ImmediateExit;

    [FieldOffset(8)] public KvmExit Reason;
    [FieldOffset(12)] public byte ReadyForInterrupt;
    [FieldOffset(13)] public byte InterruptFlag;
    [FieldOffset(16)] public ulong Cr8;
    [FieldOffset(24)] public ulong ApicBase;

    [FieldOffset(32)] public ulong HardwareReason;
    [FieldOffset(32)] public KvmIo Io;
    [FieldOffset(32)] public KvmMmio Mmio;
    [FieldOffset(32)] public KvmMsrAccess Msr;
    [FieldOffset(32)] public KvmInternalError Error;
    [FieldOffset(32)] public uint SystemEventType;
    [FieldOffset(32)] public byte EndedVector;
}

/// <summary>IN or OUT, <see cref="Count"/> times: REP string instructions leave in batches. The data is elsewhere in the shared pages.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmIo
{
    public byte IsOut;
    public byte Size;
    public ushort Port;
    public uint Count;
    public ulong DataOffset;
}

[StructLayout(LayoutKind.Sequential)]
internal struct KvmMmio
{
    public ulong Address;
    public ulong Data;
    public uint Length;
    public byte IsWrite;
}

/// <summary>RDMSR or WRMSR of a register that is not the kernel's (KVM_CAP_X86_USER_SPACE_MSR).</summary>
[StructLayout(LayoutKind.Explicit)]
internal struct KvmMsrAccess
{
    /// <summary>Out: nonzero raises #GP.</summary>
    [FieldOffset(0)] public byte Fault;
    [FieldOffset(8)] public uint Cause;
    [FieldOffset(12)] public uint Index;
    [FieldOffset(16)] public ulong Data;
}

/// <summary>KVM gave up; for a failed emulation the bytes of the instruction may be there (api.rst 5, KVM_INTERNAL_ERROR_EMULATION).</summary>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct KvmInternalError
{
    public const uint Emulation = 1;
    public const ulong HasInstruction = 1;

    [FieldOffset(0)] public uint Kind;
    [FieldOffset(4)] public uint Count;
    [FieldOffset(8)] public fixed ulong Data[16];
    [FieldOffset(8)] public ulong Flags;
    [FieldOffset(16)] public byte InstructionLength;
    [FieldOffset(17)] public fixed byte Instruction[15];
}
