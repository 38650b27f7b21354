using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator;

/// <summary>How the translator works.</summary>
/// <param name="CodeCacheSize">Bytes of emitted code kept; the cache is emptied when full.</param>
/// <param name="Count">Count instructions, which costs a few percent.</param>
/// <param name="Time">Take the time spent in translated code, in translation and in filling the soft TLB for it.</param>
public sealed record TranslatorOptions(ulong CodeCacheSize = 64 << 20, bool Count = false, bool Time = false)
{
    /// <summary>A block is translated when it has been interpreted this often.</summary>
    public const int WarmAfter = 24;

    /// <summary>The host's <c>clock_gettime</c> (<see cref="Host.HostTime.MonotonicReader"/>), for RDTSC; 0: the time is asked of the I/O seam each time.</summary>
    public nint Clock { get; init; }

    /// <summary>A translation that ends where it begins does not go on there by itself: for comparing block by block.</summary>
    public bool Singly { get; init; }

    /// <summary>Compare without touching flags by PEXT, which some hosts are slow at.</summary>
    public bool Extract { get; init; } = HostFeatures.FastExtract;
}
