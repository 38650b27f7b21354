using System.Globalization;
using Trapline.Core;

namespace Trapline.Machine;

/// <summary>Writes what <see cref="DiagnosticsSpecification.Trace"/> asks for, one line an event, with guest time. Allocates: only when tracing.</summary>
internal sealed class MachineTrace(TraceKinds kinds, TextWriter? writer, IGuestClock clock)
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
