using System.Globalization;
using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>Writes what <see cref="DiagnosticsSpecification.Trace"/> asks for, one line an event, with guest time. Allocates: only when tracing.</summary>
internal sealed class MachineTrace(TraceKinds kinds, TextWriter? writer, IGuestClock clock) : IEngineTrace
{
    private readonly Lock _lock = new();

    public bool Wants(TraceKinds kind) => writer is not null && (kinds & kind) != 0;

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

    public void Lifecycle(string what)
    {
        if (Wants(TraceKinds.Lifecycle))
            Write(what);
    }

    private void Write(string line)
    {
        long now = clock.Nanoseconds;
        lock (_lock)
            writer!.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{now / 1e9:F9} {line}"));
    }
}
