using Trapline.Core;

namespace Trapline.X86;

/// <summary>A segment register with its hidden part.</summary>
/// <param name="Attributes">Access rights in the descriptor's own layout: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16 (SDM Vol. 3, 25.4.1).</param>
public readonly record struct SegmentState(ushort Selector, ulong Base, uint Limit, uint Attributes);

/// <summary>GDTR or IDTR.</summary>
public readonly record struct TableState(ulong Base, ushort Limit);

/// <summary>What the processor is doing between instructions.</summary>
public enum VcpuActivity
{
    Running,
    Halted,
    WaitingForStartUp,
    ShutDown,
}

/// <summary>What kind of event <see cref="InjectedEvent"/> is (SDM Vol. 3, 25.8.3). Software interrupts are not here: their instruction runs again.</summary>
public enum InjectedKind
{
    ExternalInterrupt,
    NonMaskable,
    /// <summary>Its side effects, on CR2 and DR6, have happened; RFLAGS.RF is as its handler is to find it.</summary>
    Exception,
}

/// <summary>An event between being accepted and being delivered through the IDT.</summary>
/// <param name="ErrorCode">What is pushed; null for an event without.</param>
public readonly record struct InjectedEvent(InjectedKind Kind, byte Vector, uint? ErrorCode = null);

/// <summary>A vCPU's architectural state, the same for every engine. Registers by their SDM names; arrays in encoding order.</summary>
[SavedState("vcpu", 1)]
public sealed record VcpuState
{
    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.</summary>
    public ulong[] General { get; init; } = new ulong[16];
    public ulong Rip { get; init; }
    public ulong Rflags { get; init; } = 2;

    /// <summary>ES, CS, SS, DS, FS, GS, LDTR, TR.</summary>
    public SegmentState[] Segments { get; init; } = new SegmentState[8];
    public TableState Gdtr { get; init; }
    public TableState Idtr { get; init; }

    public ulong Cr0 { get; init; }
    public ulong Cr2 { get; init; }
    public ulong Cr3 { get; init; }
    public ulong Cr4 { get; init; }
    public ulong Cr8 { get; init; }
    public ulong Xcr0 { get; init; } = 1;
    public uint Pkru { get; init; }

    /// <summary>DR0 to DR3, DR6, DR7.</summary>
    public ulong[] Debug { get; init; } = new ulong[6];

    /// <summary>The page-directory-pointer entries that a CR3 load cached in PAE mode (SDM Vol. 3, 4.4.1): four, or none to load them from memory.</summary>
    public ulong[] Pdptes { get; init; } = [];

    /// <summary>Model-specific registers by index: those of <see cref="VcpuMsrs.Owned"/> that the model has. What is left out is as at reset.</summary>
    public IReadOnlyDictionary<uint, ulong> Msrs { get; init; } = new Dictionary<uint, ulong>();

    /// <summary>
    /// x87, SSE and AVX state in the standard (uncompacted) XSAVE layout with 64-bit FIP and FDP (SDM Vol. 1, 13.4); empty: as at reset.
    /// PKRU is <see cref="Pkru"/>, not here.
    /// </summary>
    public byte[] Xsave { get; init; } = [];

    /// <summary>FCS and FDS, for which the 64-bit image has no room.</summary>
    public ushort X87CodeSelector { get; init; }
    public ushort X87DataSelector { get; init; }

    public VcpuActivity Activity { get; init; }

    /// <summary>Interrupts are held off for one instruction by STI.</summary>
    public bool StiShadow { get; init; }

    /// <summary>Interrupts and debug traps are held off for one instruction by MOV SS or POP SS.</summary>
    public bool MovSsShadow { get; init; }
    public bool NmiPending { get; init; }
    public bool NmiBlocked { get; init; }

    /// <summary>INIT has arrived and was not acted upon yet.</summary>
    public bool InitPending { get; init; }

    /// <summary>The vector of a start-up IPI that has arrived and was not acted upon yet.</summary>
    public byte? StartUpVector { get; init; }

    /// <summary>An event that was taken from its source but not delivered: the engine that imports it delivers it before anything else.</summary>
    public InjectedEvent? Injected { get; init; }

    /// <summary>Debug exceptions pending delivery, in DR6's bits.</summary>
    public ulong PendingDebug { get; init; }

    /// <summary>IA32_TSC at the moment of export.</summary>
    public ulong TimeStampCounter { get; init; }
}
