using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Host;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>One vCPU's low memory, which emitted code addresses absolutely: state, frame, soft TLBs, jump cache, return stacks.</summary>
public sealed unsafe class LowLayout : IDisposable
{
    public const int JumpEntries = 1 << 16;

    /// <summary>One return stack for each soft-TLB context that runs translated code.</summary>
    public const int ShadowStacks = SoftTlb.Bypass;

    /// <summary>Depth of guest calls in bytes.</summary>
    public const ulong ShadowSize = 128 << 10;

    /// <summary>
    /// The eight address bits from here up are zero in the page below a return stack and in no part of it: one call too many lands there, and code can
    /// test that without touching flags. Signal frames land below that page.
    /// </summary>
    public const int ShadowShift = 12;
    private const ulong ShadowSpacing = 1ul << ShadowShift + 8, ShadowGuard = 1ul << ShadowShift, SignalRoom = 128 << 10;

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
        _memory = LowMemory.Create(shadows + SignalRoom + (ShadowStacks + 1) * ShadowSpacing);
        State = (CpuState*)_memory.Base;
        Frame = (TranslationFrame*)(_memory.Base + FrameOffset);
        Frame->ClosedDelta = (ulong)(_memory.Base + NothingOffset) - TranslationFrame.NoPage;
        Frame->CloseWindow();
        Frame->IndexBits = (uint)SoftTlb.IndexMask << 12;
        Frame->PageBits = ~0xFFFul;
        Tlb = (ulong*)(_memory.Base + TlbOffset);
        Spaces = (ulong*)(_memory.Base + spaces);
        JumpKeys = (ulong*)(_memory.Base + jumps);
        JumpTargets = (nint*)(JumpKeys + JumpEntries);
        ScopeIsCurrent = _memory.Base + scopes;
        Equal = _memory.Base + EqualOffset;
        Equal[0] = 1;
        _shadows = (byte*)(((ulong)(_memory.Base + shadows) + SignalRoom + ShadowSpacing - 1) & ~(ShadowSpacing - 1));
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

    /// <summary>The vCPU runs much: what is here lies in huge pages from now on.</summary>
    public void MakeHuge() => HostPages.MakeHuge(_memory.Base, _memory.Length);

    /// <summary>Emitted code can reach all of it.</summary>
    public bool IsLow => _memory.IsLow;

    /// <summary>Where a return stack begins: its first entry, the bottom's address, lies there.</summary>
    public ulong ShadowTop(int context) => ShadowLimit(context) + ShadowSize - 16;

    /// <summary>A call below this address starts the return stack anew.</summary>
    public ulong ShadowLimit(int context) => (ulong)_shadows + (ulong)context * ShadowSpacing + ShadowGuard;

    public void Dispose() => _memory.Dispose();
}
