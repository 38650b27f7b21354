namespace Trapline.Kvm.Tests;

/// <summary>The probe tells hardware from emulation, and leaves nothing behind.</summary>
public sealed class ProbeTests
{
    [KvmFact]
    public void TellsHowFastGuestsRun()
    {
        KvmSpeed? speed = KvmProbe.Measure(out string? obstacle);
        Assert.Null(obstacle);
        Assert.True(speed!.Value.NanosecondsPerInstruction > 0.05, $"{speed}");
        Assert.True(speed.Value.MicrosecondsPerExit > 0.1, $"{speed}");
        // A kernel without hardware under it needs a microsecond for what takes hardware a third of a nanosecond.
        if (!KvmProbe.ProcessorHasHardware)
            Assert.False(speed.Value.IsFast, $"{speed}");
    }

    [Theory]
    [InlineData(0.3, 1.2, true)]
    [InlineData(0.5, 40, true)] // hardware within a virtual machine
    [InlineData(1000, 10, false)]
    [InlineData(0.3, 500, false)]
    public void FastIsWhatHardwareCanDo(double instruction, double exit, bool fast) => Assert.Equal(fast, new KvmSpeed(instruction, exit).IsFast);
}
