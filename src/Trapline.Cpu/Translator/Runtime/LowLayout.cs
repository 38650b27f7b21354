using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Host;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>One vCPU's low memory, which emitted code addresses absolutely: state, frame, soft TLBs, jump cache, return stacks.</summary>
public sealed unsafe class LowLayout : IDisposable
{
    public const int JumpEntries = 1 << 16;

    /// <summary>One return stack for each soft-TLB context.</summary>
    public const int ShadowStacks = SoftTlb.Contexts;

    /// <summary>
    /// Depth of guest calls in bytes, and as much below, where one call too many and signal frames land. The eight address bits above
    /// <see cref="ShadowShift"/> are zero in that part alone, which code can test without touching flags.
    /// </summary>
    public const ulong ShadowSize = 1ul << ShadowShift;
    public const int ShadowShift = 17;
    private const ulong ShadowSpacing = ShadowSize << 8;

    private const ulong FrameOffset = 8192;
    private const ulong EqualOffset = FrameOffset + 2048;
    private const ulong NothingOffset = 3 * 4096;
    private const ulong TlbOffset = 4 * 4096;
    private readonly LowMemory _memory;

    public LowLayout()
    {
        ulong spaces = TlbOffset + SoftTlb.Bytes;
        ulong jumps = spaces + SpaceTlb.Bytes;
        ulong scopes = jumps + JumpEntries * 16;
        ulong shadows = scopes + LinkScopes.Numbers;
        _memory = LowMemory.Create(shadows + (ShadowStacks + 1) * ShadowSpacing);
        State = (CpuState*)_memory.Base;
        Frame = (TranslationFrame*)(_memory.Base + FrameOffset);
        Frame->ClosedDelta = (ulong)(_memory.Base + NothingOffset) - TranslationFrame.NoPage;
        Frame->CloseWindow();
        Tlb = (ulong*)(_memory.Base + TlbOffset);
        Spaces = (ulong*)(_memory.Base + spaces);
        JumpKeys = (ulong*)(_memory.Base + jumps);
        JumpTargets = (nint*)(JumpKeys + JumpEntries);
        ScopeIsCurrent = _memory.Base + scopes;
        Equal = _memory.Base + EqualOffset;
        Equal[0] = 1;
        _shadows = (byte*)(((ulong)(_memory.Base + shadows) + ShadowSpacing - 1) & ~(ShadowSpacing - 1));
    }

    private readonly byte* _shadows;

    public CpuState* State { get; }
    public TranslationFrame* Frame { get; }
    public ulong* Tlb { get; }

    /// <summary>The tables of a <see cref="SpaceTlb"/>.</summary>
    public ulong* Spaces { get; }

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

    /// <summary>For each link number: 1 if it is the current one, else 0.</summary>
    public byte* ScopeIsCurrent { get; }

    /// <summary>256 bytes: 1, then zeros. Turns a difference of zero into something else and any other into zero, for JRCXZ.</summary>
    public byte* Equal { get; }

    /// <summary>Emitted code can reach all of it.</summary>
    public bool IsLow => _memory.IsLow;

    /// <summary>Where a return stack begins: its first entry, the bottom's address, lies there.</summary>
    public ulong ShadowTop(int context) => ShadowLimit(context) + ShadowSize - 16;

    /// <summary>A call below this address starts the return stack anew.</summary>
    public ulong ShadowLimit(int context) => (ulong)_shadows + (ulong)context * ShadowSpacing + ShadowSize;

    public void Dispose() => _memory.Dispose();
}
