using System.Diagnostics;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Machine.Tests;

/// <summary>What the host is asked for a vCPU's thread.</summary>
public class VcpuPlacementTests
{
    [Theory]
    [InlineData(100, 0)]
    [InlineData(50, 3)]
    [InlineData(25, 6)]
    [InlineData(200, -3)]
    [InlineData(1, 19)]
    public void AWeightIsANiceValue(int weight, int nice) => Assert.Equal(nice, VcpuPlacement.NiceOf(weight));

    [Fact]
    public void WhatCannotBeIsRefusedInOneLine()
    {
        CpuSpecification[] impossible =
        [
            new() { Weight = 0 },
            new() { Weight = 10_001 },
            new() { CapPercent = 0 },
            new() { CapPercent = 101 },
            new() { Count = 3, Pins = [[0], [0]] },
            new() { Pins = [[]] },
            new() { Pins = [[1023]] },
        ];
        foreach (CpuSpecification cpu in impossible)
            Assert.DoesNotContain('\n', Assert.Throws<BadInputException>(() => VcpuPlacement.Check(cpu)).Message);
        VcpuPlacement.Check(new CpuSpecification { Weight = 50, CapPercent = 10, Count = 2, Pins = [[0]] });
    }

    [Fact]
    public void ACappedThreadEarnsWhatItMayRun()
    {
        using CpuAllowance allowance = new(25, () => { });
        Stopwatch watch = Stopwatch.StartNew();
        long ran = 0;
        while (watch.ElapsedMilliseconds < 600)
        {
            long when = allowance.Begin();
            if (when > 0)
            {
                Assert.True(when > HostTime.Nanoseconds);
                SpinWait.SpinUntil(() => HostTime.Nanoseconds >= when);
                continue;
            }
            long before = ThreadScheduling.CpuNanoseconds;
            SpinUntilRan(before + 2_000_000);
            ran += ThreadScheduling.CpuNanoseconds - before;
            allowance.End();
        }
        // Spinning meanwhile was the test's; what the allowance let run is what counts. It began with one turn saved.
        Assert.InRange(ran / 1e6, 0, (600 * 0.25) + 40);
        Assert.True(ran > 0);
    }

    private static void SpinUntilRan(long until)
    {
        while (ThreadScheduling.CpuNanoseconds < until)
        {
        }
    }
}
