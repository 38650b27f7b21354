using System.Runtime.InteropServices;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>Where the guest's x87 state is.</summary>
public enum X87Place : uint
{
    /// <summary>In <see cref="CpuState"/>.</summary>
    State,
    /// <summary>In the host's FPU; only within translated code.</summary>
    Host,
    /// <summary>In <see cref="TranslationFrame.X87Image"/>: translated code has left, and managed code has not looked yet.</summary>
    Image,
}

/// <summary>What translated code keeps beside <see cref="CpuState"/>, in low memory so that an absolute address reaches it.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct TranslationFrame
{
    /// <summary>The managed caller's stack pointer.</summary>
    public ulong HostRsp;

    /// <summary>Where <c>Enter</c> jumps.</summary>
    public nint Entry;

    /// <summary>The private return stack's pointer while out of translated code, and where it begins.</summary>
    public ulong ShadowRsp;
    public ulong ShadowTop;

    /// <summary>Guest page that the stack window covers; it is writable.</summary>
    public ulong WindowPage;

    /// <summary>Host address minus guest address of that page. Always belongs to <see cref="WindowPage"/>, open or closed.</summary>
    public ulong WindowDelta;

    /// <summary>The delta of a closed window: <see cref="NoPage"/> leads to a page of nothing.</summary>
    public ulong ClosedDelta;

    /// <summary>LAHF and SETO: what AX was after them.</summary>
    public ulong Flags;

    /// <summary>Guest RAX while AX holds flags.</summary>
    public ulong Spill;

    /// <summary>A value that waits while r14 probes: the target of a call, or what a push has read.</summary>
    public ulong Held;

    /// <summary>The current space's number in the <see cref="Mmu.SpaceTlb"/>; 0: not worked out since something changed. Then the upper half's number.</summary>
    public ulong Space;
    public ulong SpaceAbove;

    /// <summary>Host addresses of guest memory and of its pages' marks.</summary>
    public byte* Backing;
    public byte* Marks;

    /// <summary>Identifies the context and address space in which links between pages and jump-cache entries are valid.</summary>
    public uint LinkId;

    /// <summary>1: the guest's vector registers and MXCSR are in the host's.</summary>
    public uint VectorsLoaded;

    /// <summary>
    /// <see cref="LinkId"/>: added to a RIP it gives the jump cache's key. Addresses that differ by less than 65,535, as numbers do, never share an entry
    /// (<see cref="LowLayout.JumpSlot"/>), so keys of different numbers always differ there, whatever the (perhaps not canonical) RIP: no address
    /// reaches another scope's code.
    /// </summary>
    public ulong CodeKey;

    /// <summary>Address of a missed access, or target of an indirect jump that missed the jump cache.</summary>
    public ulong ExitAddress;

    public uint HostMxcsr;

    /// <summary>Not 0: the guest's time-stamp counter is the host's monotonic clock in nanoseconds, plus <see cref="TimeLead"/> and the vCPU's own offset.</summary>
    public uint TimeRuns;
    public ulong TimeLead;

    /// <summary>PAUSEs until the loop that they are in is taken to be waiting; code leaves at 0.</summary>
    public uint PauseBudget;

    /// <summary>Where the guest's x87 state is: an <see cref="X87Place"/>.</summary>
    public uint X87;

    /// <summary>Site of the last x87 instruction that leaves its address behind; 0 if there was none since the state was loaded.</summary>
    public uint X87Last;

    /// <summary>Segment of the last x87 memory operand since the state was loaded, or <see cref="NoSegment"/>.</summary>
    public uint X87Segment;
    public const uint NoSegment = 0xFF;

    /// <summary>FNINIT: there was no operand since.</summary>
    public const uint ClearedSegment = 0xFE;

    /// <summary>A control word on its way from guest memory, checked.</summary>
    public uint X87Control;

    /// <summary>The x87 state as FNSAVE stores it: environment, then ST(0) to ST(7) of ten bytes (SDM Vol. 1, 8.1.10).</summary>
    public fixed byte X87Image[X87ImageSize];
    public const int X87ImageSize = 28 + 8 * 10;

    /// <summary>Addends of probes that several accesses share, while RCX serves something else (<see cref="Passes.SameBaseGroups"/>). Only within a block.</summary>
    public fixed ulong Addends[AddendSlots];
    public const int AddendSlots = 8;

    /// <summary>The address that the jump cache leads out at (<see cref="BlockTranslator.AddStop"/>).</summary>
    public ulong StopAddress;

    /// <summary>What PEXT takes of an address: the soft TLB's index; the page.</summary>
    public uint IndexBits;
    public ulong PageBits;

    /// <summary>Site of the last return: if it led to an address that is not canonical, the return itself faults and must be undone.</summary>
    public uint LastReturn;

    /// <summary>
    /// The page of a closed window: not canonical, and drawn by lot, so that a guest which sets RSP to some address that is not canonical gets its fault.
    /// One that guesses right reaches a page of nothing, never the host.
    /// </summary>
    public static readonly ulong NoPage =
        BitConverter.ToUInt64(System.Security.Cryptography.RandomNumberGenerator.GetBytes(8)) & 0x3FFF_FFFF_FFFF_F000 | 0x4000_0000_0000_0000;

    public void CloseWindow()
    {
        WindowPage = NoPage;
        WindowDelta = ClosedDelta;
    }
}
