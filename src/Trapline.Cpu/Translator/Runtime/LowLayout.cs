using Trapline.Cpu.Mmu;
using Trapline.Host;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>One vCPU's low memory, which emitted code addresses absolutely: state, frame, soft TLB, jump cache, return stacks.</summary>
public sealed unsafe class LowLayout : IDisposable
{
    public const int JumpEntries = 1 << 16;

    /// <summary>One return stack for each soft-TLB context.</summary>
    public const int ShadowStacks = SoftTlb.Contexts;

    /// <summary>
    /// Depth of guest calls in bytes, and what lies below: room for calls made between two checks (bounded by the code cache) and for signal frames.
    /// </summary>
    public const ulong ShadowSize = 256 << 10;
    private const ulong ShadowSlack = 32 << 20;

    private const ulong FrameOffset = 8192;
    private const ulong NothingOffset = 3 * 4096;
    private const ulong TlbOffset = 4 * 4096;
    private readonly LowMemory _memory;

    public LowLayout()
    {
        ulong jumps = TlbOffset + SoftTlb.Bytes;
        ulong shadows = jumps + JumpEntries * 16;
        _memory = LowMemory.Create(shadows + ShadowStacks * (ShadowSize + ShadowSlack) + ShadowSize);
        State = (CpuState*)_memory.Base;
        Frame = (TranslationFrame*)(_memory.Base + FrameOffset);
        Frame->ClosedDelta = (ulong)(_memory.Base + NothingOffset) - TranslationFrame.NoPage;
        Frame->CloseWindow();
        Tlb = (ulong*)(_memory.Base + TlbOffset);
        JumpKeys = (ulong*)(_memory.Base + jumps);
        JumpTargets = (nint*)(JumpKeys + JumpEntries);
        _shadows = (byte*)(((ulong)(_memory.Base + shadows) + ShadowSize - 1) & ~(ShadowSize - 1));
    }

    private readonly byte* _shadows;

    public CpuState* State { get; }
    public TranslationFrame* Frame { get; }
    public ulong* Tlb { get; }

    /// <summary>
    /// The jump cache: entry <see cref="JumpSlot"/> holds minus (RIP plus <see cref="TranslationFrame.CodeKey"/>), and the host address.
    /// </summary>
    public ulong* JumpKeys { get; }
    public nint* JumpTargets { get; }

    /// <summary>
    /// The entry that an address selects: the sum of its two lowest 16-bit words, since libraries lie at multiples of 64 KiB.
    /// Addresses less than 65,535 bytes apart never share one.
    /// </summary>
    public static uint JumpSlot(ulong rip) => (uint)(rip + (rip >> 16)) & (JumpEntries - 1);

    /// <summary>Emitted code can reach all of it.</summary>
    public bool IsLow => _memory.IsLow;

    /// <summary>Where a return stack begins: its first entry, the bottom's address, lies there.</summary>
    public ulong ShadowTop(int context) => ShadowLimit(context) + ShadowSize - 16;

    /// <summary>A call below this address starts the return stack anew. Aligned to <see cref="ShadowSize"/>, so that one bit field of RSP tells.</summary>
    public ulong ShadowLimit(int context) => (ulong)_shadows + (ulong)context * (ShadowSize + ShadowSlack) + ShadowSlack;

    public void Dispose() => _memory.Dispose();
}
