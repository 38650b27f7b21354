using System.Diagnostics;
using Trapline.X86;

namespace Trapline.Cpu.Translator;

/// <summary>Where the time goes, taken only on request.</summary>
public sealed unsafe partial class BlockTranslator
{
    private long _timeTranslated, _timeTranslating, _timeOfMmu;

    public EngineTimes? Times => _options.Time ? new EngineTimes(Span(_timeTranslated), Span(_timeTranslating), Span(_timeOfMmu)) : null;

    private uint EnterTimed(nint way)
    {
        long start = Stopwatch.GetTimestamp();
        uint number = ((delegate* unmanaged<uint>)way)();
        _timeTranslated += Stopwatch.GetTimestamp() - start;
        return number;
    }

    /// <summary>0 if no times are taken.</summary>
    public long StartTime() => _options.Time ? Stopwatch.GetTimestamp() : 0;

    /// <summary>The soft TLB was filled for translated code.</summary>
    public void AddMmuTime(long start) => AddTime(ref _timeOfMmu, start);

    private void AddTime(ref long total, long start)
    {
        if (_options.Time)
            total += Stopwatch.GetTimestamp() - start;
    }

    private static TimeSpan Span(long ticks) => Stopwatch.GetElapsedTime(0, ticks);
}
