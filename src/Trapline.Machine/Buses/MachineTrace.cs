using System.Globalization;
using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>Writes what <see cref="DiagnosticsSpecification.Trace"/> asks for, one line an event, with guest time. Allocates: only when tracing.</summary>
internal sealed class MachineTrace(DiagnosticsSpecification what, IGuestClock clock) : IEngineTrace
{
    private readonly Lock _lock = new();

    public bool Wants(TraceKinds kind) => what.TraceWriter is not null && (what.Trace & kind) != 0;

    public bool WantsTranslations => Wants(TraceKinds.Translate) || what.PerfMap is not null || (what.TraceWriter is not null && what.DumpBlocks.Count > 0);

    public bool WantsEngines => Wants(TraceKinds.Exceptions | TraceKinds.Walks) || WantsTranslations;

    public void Access(int vcpu, ExitKind kind, ulong target, int size, ulong value, bool claimed)
    {
        if (Wants(TraceKinds.Exits) || (!claimed && Wants(TraceKinds.Unclaimed)))
            Write(string.Create(CultureInfo.InvariantCulture,
                $"cpu{vcpu} {kind} 0x{target:x} size {size} value 0x{value:x}{(claimed ? "" : " unclaimed")}"));
    }

    public void Interrupt(int vcpu, string what, int vector)
    {
        if (Wants(TraceKinds.Interrupts))
            Write(string.Create(CultureInfo.InvariantCulture, $"cpu{vcpu} {what} 0x{vector:x2}"));
    }

    public void Exception(int vcpu, byte vector, uint errorCode, ulong rip, ulong address)
    {
        if (Wants(TraceKinds.Exceptions))
            Write(EngineEvents.Exception(vcpu, vector, errorCode, rip, address));
    }

    public void PageWalk(int vcpu, ulong gva, ReadOnlySpan<WalkStep> steps, ulong? gpa, nint? hva)
    {
        if (Wants(TraceKinds.Walks))
            Write(EngineEvents.PageWalk(vcpu, gva, steps, gpa, hva));
    }

    public void Translated(int vcpu, TranslationReport translation)
    {
        if (Wants(TraceKinds.Translate))
            Write(EngineEvents.Translated(vcpu, translation));
        if (what.DumpBlocks.Any(a => a - translation.Rip < (ulong)translation.GuestBytes) && what.TraceWriter is not null)
            Write($"cpu{vcpu} {translation.Listing()}");
        Map(translation.HostAddress, translation.HostBytes, translation.Rip, translation.Mode, translation.Flavour);
    }

    private void Map(nint hostAddress, int hostBytes, ulong rip, string mode, string flavour)
    {
        if (what.PerfMap is not { } map)
            return;
        string symbol = EngineEvents.PerfSymbol(hostAddress, hostBytes, rip, mode, flavour);
        lock (_lock)
            map.WriteLine(symbol);
    }

    public void TranslationMoved(int vcpu, ulong rip, string mode, string flavour, ulong from, nint hostAddress, int hostBytes)
    {
        if (Wants(TraceKinds.Translate))
            Write(string.Create(CultureInfo.InvariantCulture, $"cpu{vcpu} copied 0x{rip:x} {mode} {flavour} from 0x{from:x} to 0x{hostAddress:x}"));
        Map(hostAddress, hostBytes, rip, mode, flavour);
    }

    public void TranslationDropped(int vcpu, ulong rip, string mode, string flavour)
    {
        if (Wants(TraceKinds.Translate))
            Write(string.Create(CultureInfo.InvariantCulture, $"cpu{vcpu} dropped 0x{rip:x} {mode} {flavour}"));
    }

    public void TranslationsFlushed(int vcpu, int count, string reason)
    {
        if (Wants(TraceKinds.Translate))
            Write(string.Create(CultureInfo.InvariantCulture, $"cpu{vcpu} flushed {count} translations: {reason}"));
    }

    public void Lifecycle(string happened)
    {
        if (Wants(TraceKinds.Lifecycle))
            Write(happened);
    }

    /// <summary>A fault of ours: written whatever is traced.</summary>
    public void Fault(string what)
    {
        if (Wants(TraceKinds.All))
            Write(what);
    }

    private void Write(string line)
    {
        long now = clock.Nanoseconds;
        lock (_lock)
            what.TraceWriter!.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{now / 1e9:F9} {line}"));
    }
}
