using Trapline.Control.Api;
using Trapline.Control.Client;
using Trapline.Control.Sockets;
using Trapline.Machine;

namespace Trapline.Control.Tests;

/// <summary>What is asked by HTTP happens to the machine.</summary>
public sealed class ApiTests
{
    private const string Name = ServedMachine.Name;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task ListAndDescriptionSayWhatTheMachineIs()
    {
        await using ServedMachine served = new();
        MachineInfo machine = Assert.Single((await served.Client.ListAsync().WaitAsync(Limit)).Machines);
        Assert.Equal((Name, MachineState.Running, "interpreter", 32ul << 20, 1, Environment.ProcessId, false),
            (machine.Name, machine.State, machine.Engine, machine.MemoryBytes, machine.Vcpus, machine.Pid, machine.Executes));
        Assert.InRange(machine.UptimeSeconds, 0, Limit.TotalSeconds);
        Assert.Equal(machine with { UptimeSeconds = 0 }, await served.Client.DescribeAsync(Name).WaitAsync(Limit) with { UptimeSeconds = 0 });
    }

    [Fact]
    public async Task PauseStopsTheGuestAndResumeLetsItGoOn()
    {
        await using ServedMachine served = new();
        Assert.True(await served.RunsAsync());
        Assert.Equal(MachineState.Paused, (await served.Client.SwitchAsync(Routes.Pause, Name).WaitAsync(Limit)).State);
        int count = served.Line.Count;
        await Task.Delay(200);
        Assert.Equal(count, served.Line.Count);
        Assert.Equal(MachineState.Paused, (await served.Client.SwitchAsync(Routes.Pause, Name).WaitAsync(Limit)).State); // again: nothing to do
        Assert.Equal(MachineState.Running, (await served.Client.SwitchAsync(Routes.Resume, Name).WaitAsync(Limit)).State);
        Assert.True(await served.RunsAsync());
    }

    [Fact]
    public async Task ResetBeginsAnew()
    {
        await using ServedMachine served = new();
        Assert.True(await served.RunsAsync());
        MachineReport before = await served.Client.ReportAsync(Name).WaitAsync(Limit);
        await served.Client.SwitchAsync(Routes.Reset, Name).WaitAsync(Limit);
        Assert.True(await served.RunsAsync());
        Assert.Equal(MachineStatus.Running, served.Machine.Status);
        Assert.True(before.GuestSeconds > 0);
    }

    [Fact]
    public async Task StatisticsCountWhatTheGuestDid()
    {
        await using ServedMachine served = new();
        Assert.True(await served.RunsAsync());
        MachineReport report = await served.Client.ReportAsync(Name).WaitAsync(Limit);
        VcpuReport vcpu = Assert.Single(report.Vcpus);
        Assert.True(vcpu.Instructions > 100_000);
        Assert.Contains(report.Exits, e => e is { Kind: "port-out", Count: > 0 } && e.Target.Contains("0xe9", StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>An NMI without a handler in a guest without an IDT is a triple fault: it has arrived.</summary>
    [Fact]
    public async Task AnNmiArrives()
    {
        await using ServedMachine served = new();
        Assert.True(await served.RunsAsync());
        await served.Client.SwitchAsync(Routes.Nmi, Name).WaitAsync(Limit);
        Assert.Equal(MachineEnd.TripleFault, (await served.Machine.Completion.WaitAsync(Limit)).End);
        ControlException refused = await Assert.ThrowsAsync<ControlException>(() => served.Client.SwitchAsync(Routes.Pause, Name));
        Assert.Equal((409, $"machine '{Name}' has ended"), (refused.Status, refused.Message));
    }

    [Fact]
    public async Task AGuestThatIgnoresItsPowerButtonIsStoppedWhenPatienceEnds()
    {
        await using ServedMachine served = new();
        Assert.Equal(MachineState.Running, (await served.Client.SwitchAsync(Routes.PowerButton, Name).WaitAsync(Limit)).State);
        await served.Client.SwitchAsync(Routes.Pause, Name).WaitAsync(Limit);
        MachineEnded ended = await served.Client.StopAsync(Name, new StopRequest { PatienceSeconds = 0.2 }).WaitAsync(Limit);
        Assert.Equal(new MachineEnded { End = "stopped", Reason = "the guest did not switch itself off" }, ended);
        Assert.Equal(MachineState.Ended, (await served.Client.DescribeAsync(Name).WaitAsync(Limit)).State);
    }

    [Fact]
    public async Task AForcedStopIsAtOnce()
    {
        await using ServedMachine served = new();
        MachineEnded ended = await served.Client.StopAsync(Name, new StopRequest { Force = true }).WaitAsync(Limit);
        Assert.Equal("stopped", ended.End);
        Assert.Equal(MachineEnd.Stopped, (await served.Machine.Completion.WaitAsync(Limit)).End);
    }

    [Fact]
    public async Task UnknownNamesAndImpossibleRequestsAreRefusedInOneLine()
    {
        await using ServedMachine served = new();
        ControlException unknown = await Assert.ThrowsAsync<ControlException>(() => served.Client.DescribeAsync("other"));
        Assert.Equal((404, "there is no machine 'other'"), (unknown.Status, unknown.Message));
        ControlException patience = await Assert.ThrowsAsync<ControlException>(() => served.Client.StopAsync(Name, new StopRequest { PatienceSeconds = -1 }));
        Assert.Equal(400, patience.Status);
        Assert.Equal(MachineStatus.Running, served.Machine.Status);
    }

    [Fact]
    public async Task TheEngineChangesUnderTheGuest()
    {
        await using ServedMachine served = new();
        Assert.True(await served.RunsAsync());
        EngineSwitched switched = await served.Client.SwitchEngineAsync(Name, new EngineRequest { Engine = "translator" }).WaitAsync(Limit);
        Assert.Equal("translator", switched.Engine);
        Assert.Equal("translator", (await served.Client.DescribeAsync(Name).WaitAsync(Limit)).Engine);
        Assert.True(await served.RunsAsync());
        ControlException unknown = await Assert.ThrowsAsync<ControlException>(() => served.Client.SwitchEngineAsync(Name, new EngineRequest { Engine = "steam" }));
        Assert.Equal(400, unknown.Status);
        Assert.Contains("'steam'", unknown.Message);
        Assert.True(await served.RunsAsync());
    }

    [Fact]
    public async Task AGuestIsAskedToDoWithoutMemory()
    {
        await using ServedMachine served = new(devices: new DeviceSpecification { Balloon = true });
        BalloonReport none = new() { TargetBytes = 0, ActualBytes = 0, ReleasedBytes = 0 };
        Assert.Equal(none, (await served.Client.ReportAsync(Name).WaitAsync(Limit)).Balloon);
        // This guest has no driver for it: it is asked, and does nothing.
        BalloonReport asked = none with { TargetBytes = 8 << 20 };
        Assert.Equal(asked, await served.Client.SetBalloonAsync(Name, new BalloonRequest { Bytes = 8 << 20 }).WaitAsync(Limit));
        Assert.Equal(asked, (await served.Client.ReportAsync(Name).WaitAsync(Limit)).Balloon);
        ControlException much = await Assert.ThrowsAsync<ControlException>(() => served.Client.SetBalloonAsync(Name, new BalloonRequest { Bytes = 33 << 20 }));
        Assert.Equal((400, "a machine of 32 MiB cannot do without 33 MiB"), (much.Status, much.Message));

        await using ServedMachine without = new();
        Assert.Null((await without.Client.ReportAsync(Name).WaitAsync(Limit)).Balloon);
        ControlException refused = await Assert.ThrowsAsync<ControlException>(() => without.Client.SetBalloonAsync(Name, new BalloonRequest { Bytes = 1 << 20 }));
        Assert.Equal((400, "the machine has no balloon: start it with --device balloon"), (refused.Status, refused.Message));
    }

    [Fact]
    public async Task PortsOfClonesNeedANetworkThatPublishes()
    {
        await using ServedMachine served = new();
        ControlException refused = await Assert.ThrowsAsync<ControlException>(() => served.Client.ForkAsync(Name, new ForkRequest { Publish = ["8080:80"] }));
        Assert.Equal((400, "--publish '8080:80' needs a machine with a network of the kind user"), (refused.Status, refused.Message));
        Assert.Single((await served.Client.ListAsync().WaitAsync(Limit)).Machines);
    }

    [Fact]
    public async Task AMachineIsSavedWhileItRuns()
    {
        await using ServedMachine served = new();
        Assert.True(await served.RunsAsync());
        string path = Path.Combine(served.Directory.Path, "state");
        Assert.Equal(path, (await served.Client.SaveAsync(Name, new SaveRequest { Path = path }).WaitAsync(Limit)).Path);
        Assert.True(await served.RunsAsync());
        using VirtualMachine restored = VirtualMachine.Restore(path);
        restored.Start();
        Assert.Equal(MachineStatus.Running, restored.Status);
        Assert.True(await restored.MemoryChecked.WaitAsync(Limit));
        foreach (string bad in (string[])["relative", "/nowhere/at/all"])
            Assert.Equal(400, (await Assert.ThrowsAsync<ControlException>(() => served.Client.SaveAsync(Name, new SaveRequest { Path = bad }))).Status);
        Assert.True(await served.RunsAsync());
    }

    [Fact]
    public async Task ClonesHaveNamesOfTheirOwnAndOutliveTheOriginal()
    {
        await using ServedMachine served = new();
        Assert.True(await served.RunsAsync());
        using ControlSocket taken = ControlSocket.Claim(served.Directory, Name + "-2");
        IReadOnlyList<MachineInfo> clones = (await served.Client.ForkAsync(Name, new ForkRequest { Count = 3 }).WaitAsync(Limit)).Machines;
        Assert.Equal([Name + "-1", Name + "-3", Name + "-4"], clones.Select(c => c.Name));
        Assert.All(clones, c => Assert.Equal((MachineState.Running, Environment.ProcessId, false), (c.State, c.Pid, c.Executes)));
        Assert.Equal(["other-1"], (await served.Client.ForkAsync(Name + "-3", new ForkRequest { Prefix = "other" }).WaitAsync(Limit)).Machines.Select(c => c.Name));
        Assert.Equal(5, (await MachineFinder.ListAsync(served.Directory)).Machines.Count);

        await served.Client.StopAsync(Name, new StopRequest { Force = true }).WaitAsync(Limit);
        using ControlClient clone = new(MachineFinder.Find(served.Directory, Name + "-3"));
        Assert.True((await clone.ReportAsync(Name + "-3").WaitAsync(Limit)).Vcpus[0].Instructions > 0);
        await clone.StopAsync(Name + "-3", new StopRequest { Force = true }).WaitAsync(Limit);
        for (int tries = 0; tries < 100 && File.Exists(served.Directory.SocketOf(Name + "-3")); tries++)
            await Task.Delay(20);
        Assert.DoesNotContain(Name + "-3", served.Directory.Names);
        Assert.Equal(404, (await Assert.ThrowsAsync<ControlException>(() => clone.DescribeAsync(Name + "-3"))).Status);
        Assert.Equal(MachineState.Running, (await clone.DescribeAsync("other-1").WaitAsync(Limit)).State); // a connection lives as long as the process
        foreach (ForkRequest bad in (ForkRequest[])[new() { Count = 0 }, new() { Count = 257 }, new() { Prefix = "a/b" }, new() { Prefix = new string('x', 63) }])
            Assert.Equal(400, (await Assert.ThrowsAsync<ControlException>(() => clone.ForkAsync("other-1", bad).WaitAsync(Limit))).Status);
    }

    /// <summary>The server of a run answers the request that ended the run.</summary>
    [Fact]
    public async Task WhoAskedForTheEndIsToldOfIt()
    {
        ServedMachine served = new();
        Task<MachineEnded> asked;
        await using (served)
        {
            await served.Client.ListAsync().WaitAsync(Limit);
            using ControlClient other = new(served.SocketPath);
            asked = other.StopAsync(Name, new StopRequest { Force = true });
            await served.Machine.Completion.WaitAsync(Limit);
            await asked.WaitAsync(Limit);
        }
        Assert.False(File.Exists(served.SocketPath));
        Assert.Equal("stopped", (await asked).End);
    }
}
