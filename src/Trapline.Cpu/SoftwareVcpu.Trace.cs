using Trapline.Cpu.Translator.Debugging;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Shows exceptions, page walks and translations to whoever asked.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    private IEngineTrace? _trace;

    /// <summary>Starts or stops telling an observer. Set it while the vCPU is stopped.</summary>
    public void Observe(IEngineTrace? trace, bool walks, bool translations = false)
    {
        _trace = trace;
        _translator?.Watcher = trace != null && translations ? new TranslationTrace(trace, Index, _translator) : null;
        Mmu.WalkTrace = trace != null && walks ? TraceWalk : null;
    }

    private void TraceWalk(ulong gva, ulong? gpa)
    {
        Span<WalkStep> steps = stackalloc WalkStep[5];
        int count = Mmu.Walker.Inspect(gva, steps);
        nint? hva = gpa is { } address && _memory.TryGetPage(address, out ulong offset, out _)
            ? (nint)(_memory.BackingBase + offset + (address & 0xFFF)) : null;
        _trace?.PageWalk(Index, gva, steps[..count], gpa, hva);
    }
}
