using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine.Tests;

/// <summary>An engine that runs a C# delegate for guest code: one call for each entry of <see cref="Run"/>.</summary>
internal sealed class FakeEngine(EngineParts parts, Func<FakeEngine, StopReason> program) : IVcpuEngine
{
    private int _attention;
    private VcpuState _state = new();

    public EngineParts Parts => parts;

    public IIoSeam Io => parts.Io;

    public int Runs { get; private set; }

    public bool Disposed { get; private set; }

    public bool Kicked => (Volatile.Read(ref _attention) & 1) != 0;

    public bool HasWork => Volatile.Read(ref _attention) != 0 || parts.Interrupts.Pending;

    public EngineCounters Counters => new(Runs, 0, 0, 0, 0, 0, 0, 0);

    public StopReason Run()
    {
        Runs++;
        if ((Interlocked.And(ref _attention, 0) & 1) != 0)
            return StopReason.Kicked;
        return program(this);
    }

    public void Kick() => Interlocked.Or(ref _attention, 1);

    public void InterruptPending() => Interlocked.Or(ref _attention, 2);

    public void NonMaskableInterrupt() => Interlocked.Or(ref _attention, 4);

    public void Init() => Interlocked.Or(ref _attention, 8);

    public void StartUp(byte vector) => Interlocked.Or(ref _attention, 16);

    public VcpuState Export() => _state;

    public void Import(VcpuState state) => _state = state;

    public void Reset() => _state = new VcpuState();

    public void Dispose() => Disposed = true;
}
