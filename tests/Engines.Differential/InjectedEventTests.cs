using Trapline.Cpu;
using Trapline.Testing;
using Trapline.X86;

namespace Engines.Differential;

/// <summary>An event that another engine had accepted is delivered before the next instruction, whatever holds off new ones.</summary>
public sealed class InjectedEventTests : IDisposable
{
    private const ulong Handler = 0x9000;

    private readonly StateBench _bench = new(translate: false, CpuModel.Max);
    private readonly VcpuState _state;

    public InjectedEventTests()
    {
        _state = StateBench.AtCode(new RandomVcpuState(11, CpuModel.Max).Next(), CpuModel.Max) with { StiShadow = false, MovSsShadow = false, NmiBlocked = false };
        _bench.Memory.TryWrite(new(Handler), [0xE6, 0xF4]); // out 0xF4, al: returns
        _bench.Memory.TryWrite(new(StateBench.Code), [0x0F, 0x0B]); // ud2: never reached
    }

    [Theory]
    [InlineData(InjectedKind.ExternalInterrupt, 0x41, null)]
    [InlineData(InjectedKind.NonMaskable, 2, null)]
    [InlineData(InjectedKind.Exception, 6, null)]
    [InlineData(InjectedKind.Exception, 14, 0x12u)]
    [InlineData(InjectedKind.Exception, 1, null)]
    public void ComesFirst(InjectedKind kind, byte vector, uint? code)
    {
        _bench.Handle(vector, Handler);
        VcpuState state = _state with { Injected = new InjectedEvent(kind, vector, code), StiShadow = true, Cr2 = 0xABC, Activity = VcpuActivity.Halted };
        _bench.Cpu.Import(state);
        Assert.True(_bench.Cpu.HasWork);
        Assert.Equal(state.Injected, _bench.Cpu.Export().Injected);
        Assert.Equal(StopReason.Kicked, _bench.Cpu.Run());

        VcpuState after = _bench.Cpu.Export();
        Assert.Equal(Handler + 2, after.Rip);
        Assert.Null(after.Injected);
        Assert.False(after.StiShadow);
        Assert.Equal(kind == InjectedKind.NonMaskable, after.NmiBlocked);
        Assert.Equal(0xABCul, after.Cr2);
        Assert.Equal(state.Debug[4] | 0xFFFF_0FF0, after.Debug[4]);
        ulong frame = after.General[4];
        Assert.Equal(StateBench.Stack - (StateBench.Stack & 15) - (code is null ? 40ul : 48ul), frame);
        if (code is { } pushed)
            Assert.Equal(pushed, _bench.Read(frame));
        Assert.Equal(StateBench.Code, _bench.Read(frame + (code is null ? 0ul : 8ul)));
    }

    [Fact]
    public void AFaultWhileAPageFaultIsDeliveredIsADoubleFault()
    {
        _bench.Handle(Vector.DoubleFault, Handler); // and no gate for #PF: #GP on the way
        _bench.Cpu.Import(_state with { Injected = new InjectedEvent(InjectedKind.Exception, Vector.PageFault, 2) });
        Assert.Equal(StopReason.Kicked, _bench.Cpu.Run());
        Assert.Equal(0ul, _bench.Read(_bench.Cpu.Export().General[4]));
    }

    [Fact]
    public void AFaultWhileADoubleFaultIsDeliveredShutsDown()
    {
        _bench.Cpu.Import(_state with { Injected = new InjectedEvent(InjectedKind.Exception, Vector.DoubleFault, 0) });
        Assert.Equal(StopReason.TripleFault, _bench.Cpu.Run());
        Assert.Equal(VcpuActivity.ShutDown, _bench.Cpu.Export().Activity);
    }

    public void Dispose() => _bench.Dispose();
}
