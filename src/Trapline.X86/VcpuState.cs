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

    /// <summary>Model-specific registers by index, those that the engine owns.</summary>
    public IReadOnlyDictionary<uint, ulong> Msrs { get; init; } = new Dictionary<uint, ulong>();

    /// <summary>x87, SSE and AVX state in the standard (uncompacted) XSAVE layout (SDM Vol. 1, 13.4).</summary>
    public byte[] Xsave { get; init; } = [];

    public VcpuActivity Activity { get; init; }

    /// <summary>Interrupts are held off for one instruction by STI.</summary>
    public bool StiShadow { get; init; }

    /// <summary>Interrupts and debug traps are held off for one instruction by MOV SS or POP SS.</summary>
    public bool MovSsShadow { get; init; }
    public bool NmiPending { get; init; }
    public bool NmiBlocked { get; init; }

    /// <summary>Debug exceptions pending delivery, in DR6's bits.</summary>
    public ulong PendingDebug { get; init; }

    /// <summary>IA32_TSC at the moment of export.</summary>
    public ulong TimeStampCounter { get; init; }
}
