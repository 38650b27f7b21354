using Trapline.Kvm;

namespace Trapline.Machine.Tests;

/// <summary>What is made of what the host says.</summary>
public sealed class PreflightTests
{
    private const string Limits = """
        Limit                     Soft Limit           Hard Limit           Units
        Max processes             96365                96365                processes
        Max open files            256                  20000                files
        Max locked memory         65536                8388608              bytes
        """;

    [Fact]
    public void AutoTakesKvmOnlyIfItIsFast()
    {
        Assert.Equal("kvm", Engines.Choose(true, () => (new KvmSpeed(0.4, 1.5), null)).Name);
        EngineChoice slow = Engines.Choose(true, () => (new KvmSpeed(900, 11), null));
        Assert.NotEqual("kvm", slow.Name);
        Assert.StartsWith("KVM is slow here: 900.00 ns an instruction, 11.0 us an exit", slow.Why);
        EngineChoice missing = Engines.Choose(true, () => (null, "there is no /dev/kvm"));
        Assert.NotEqual("kvm", missing.Name);
        Assert.StartsWith("there is no /dev/kvm", missing.Why);
    }

    [Fact]
    public void WithoutHardwareNothingIsMeasured()
    {
        EngineChoice choice = Engines.Choose(hardware: false, () => throw new InvalidOperationException("measured"));
        Assert.Contains(choice.Name, new[] { "translator", "interpreter" });
        Assert.Equal("verify", Engines.Choose("verify").Name);
    }

    [Fact]
    public void LimitsAreReadFromTheKernelsTable()
    {
        PreflightFinding[] findings = [.. HostLimits.From(Limits, cgroupTasks: 50)];
        Assert.Equal(["open files", "tasks", "locked memory"], findings.Select(f => f.Subject));
        Assert.Equal([PreflightState.Warning, PreflightState.Warning, PreflightState.Note], findings.Select(f => f.State));
        Assert.Equal(["at most 256", "at most 50", "64 KiB"], findings.Select(f => f.Finding));
        Assert.All(findings, f => Assert.NotNull(f.Advice));
        Assert.All(HostLimits.From("Max open files  unlimited unlimited files", null), f => Assert.Equal(PreflightState.Good, f.State));
    }

    [Theory]
    [InlineData("MemTotal: 9 kB\nMemAvailable:   23000000 kB\n", PreflightState.Good, "22460 MiB available")]
    [InlineData("MemAvailable:     400000 kB\n", PreflightState.Warning, "390 MiB available")]
    [InlineData(null, PreflightState.Note, "the host does not say how much is available")]
    public void MemoryIsReadFromTheKernelsTable(string? table, PreflightState state, string finding)
    {
        PreflightFinding found = HostMemory.Available(table);
        Assert.Equal((state, finding), (found.State, found.Finding));
    }

    [Theory]
    [InlineData("always within_size advise [never] deny force", PreflightState.Note)]
    [InlineData("always [within_size] advise never deny force", PreflightState.Good)]
    [InlineData(null, PreflightState.Note)]
    public void HugePagesAreWhatIsInBrackets(string? setting, PreflightState state) => Assert.Equal(state, HostMemory.Pages(setting).State);

    [Fact]
    public void ToolsAreLookedForOnThePath()
    {
        PreflightFinding[] none = [.. HostTools.Find("/nonexistent")];
        Assert.All(none, f => Assert.Equal(PreflightState.Note, f.State));
        Assert.Contains(none, f => f.Subject == "gcc" && f.Advice == "Debian: apt-get install gcc");
    }

    [Theory]
    [InlineData("0\n", PreflightState.Good)]
    [InlineData("2\n", PreflightState.Note)]
    [InlineData(null, PreflightState.Note)]
    public void IoUringIsWhatTheKernelSays(string? setting, PreflightState state) => Assert.Equal(state, Preflight.AsynchronousFiles(setting).State);

    [Fact]
    public void TheReportOfThisHostIsWhole()
    {
        PreflightReport report = Preflight.Run();
        Assert.Equal(report.Findings.Count, report.Findings.Select(f => f.Subject).Distinct().Count());
        Assert.Contains(report.Findings, f => f.Subject == "KVM");
        Assert.True(report.CanRun);
    }
}
