using Trapline.Cli.Machines;
using Trapline.Control.Api;

namespace Trapline.Tests;

public class StatsCommandTests
{
    private static MachineReport Report(bool seesEverything, long instructions, double seconds) => new()
    {
        GuestSeconds = seconds,
        Vcpus =
        [
            new VcpuReport
            {
                Index = 0, SeesEverything = seesEverything, Instructions = instructions, PageWalks = 1, PageFaults = 2, Exceptions = 3, Interrupts = 4, Halts = 5, HaltedSeconds = 0,
            },
        ],
        Exits = [],
    };

    [Fact]
    public void SpeedIsSaidWhereEveryInstructionIsCounted() =>
        Assert.Contains("vcpu 0: 5000000 instructions, 5.0 MIPS while running", StatsCommand.Lines(Report(true, 5_000_000, 1), null), StringComparison.Ordinal);

    /// <summary>Under KVM only what left the guest is counted: a rate of that would mislead.</summary>
    [Fact]
    public void SpeedIsNotSaidWhereTheProcessorRunsTheGuest()
    {
        string lines = StatsCommand.Lines(Report(false, 5000, 2), Report(false, 2000, 1));
        Assert.Contains("vcpu 0: 3000 instructions that left the guest, 0 interrupts, 0 halts", lines, StringComparison.Ordinal);
        Assert.DoesNotContain("MIPS", lines, StringComparison.Ordinal);
        Assert.DoesNotContain("page walks", lines, StringComparison.Ordinal);
    }

    [Fact]
    public void AnotherEngineBeginsTheCountsAnew() =>
        Assert.StartsWith("guest 2.0 s\n", StatsCommand.Lines(Report(false, 5000, 2), Report(true, 2000, 1)).ReplaceLineEndings("\n"), StringComparison.Ordinal);
}
