using Trapline.Core;
using Trapline.Testing;

namespace Trapline.Machine.Tests;

/// <summary>Whole machines whose guest drives a virtio disk and a virtio network card, on every engine.</summary>
public sealed class VirtioMachineTests
{
    private const bool Kernels = true, Machines = false;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    [Theory]
    [InlineData("interpreter", VirtioWay.Modern)]
    [InlineData("interpreter", VirtioWay.LegacyPin)]
    [InlineData("translator", VirtioWay.Modern)]
    [InlineData("translator", VirtioWay.Legacy)]
    public Task RequestsAreServed(string engine, VirtioWay way) => Serve(engine, way, Machines, rounds: 500);

    [KvmTheory]
    [InlineData(VirtioWay.Modern, Kernels)]
    [InlineData(VirtioWay.Modern, Machines)]
    [InlineData(VirtioWay.Legacy, Kernels)]
    [InlineData(VirtioWay.Legacy, Machines)]
    [InlineData(VirtioWay.LegacyPin, Machines)]
    public Task RequestsAreServedUnderKvm(VirtioWay way, bool apics) => Serve("kvm", way, apics, rounds: 500);

    private static async Task Serve(string engine, VirtioWay way, bool apics, int rounds)
    {
        MemoryDisk disk = new(VirtioGuest.Sectors * 512);
        DebugLine line = new();
        using GuestMachine machine = Machine(engine, way, apics, rounds, disk, line);
        MachineOutcome outcome = await machine.RunAsync().WaitAsync(Limit);
        Assert.True(outcome.End == MachineEnd.DebugExit, outcome.Reason);
        Assert.Equal(("r", VirtioGuest.Good), (line.Text, outcome.DebugExitCode));
        VirtioGuest.Check(disk.Content, rounds);
    }

    /// <summary>Requests and interrupts are under way while other engines take the vCPU over: none is lost, none is served twice.</summary>
    [KvmTheory]
    [InlineData(VirtioWay.Modern, Kernels)]
    [InlineData(VirtioWay.Modern, Machines)]
    [InlineData(VirtioWay.Legacy, Kernels)]
    [InlineData(VirtioWay.Legacy, Machines)]
    [InlineData(VirtioWay.LegacyPin, Machines)]
    public async Task RequestsAreServedThroughSwitchesOfEngines(VirtioWay way, bool apics)
    {
        const int rounds = 12_000;
        MemoryDisk disk = new(VirtioGuest.Sectors * 512);
        DebugLine line = new();
        using GuestMachine machine = Machine("kvm", way, apics, rounds, disk, line);
        machine.Start();
        Assert.True(SpinWait.SpinUntil(() => line.Count > 0, Limit));
        Random random = new(3);
        string[] engines = ["interpreter", "kvm", "translator", "kvm"];
        int switches = 0;
        while (machine.Status == MachineStatus.Running)
        {
            await Task.Delay(random.Next(6));
            try
            {
                machine.SwitchEngine(engines[switches % 4]);
                switches++;
            }
            catch (InvalidOperationException) when (machine.Status == MachineStatus.Ended)
            {
            }
        }
        MachineOutcome outcome = await machine.Completion.WaitAsync(Limit);
        Assert.True(outcome.End == MachineEnd.DebugExit, outcome.Reason);
        Assert.Equal(("r", VirtioGuest.Good), (line.Text, outcome.DebugExitCode));
        Assert.True(switches >= 4, $"it ended after {switches} switches");
        VirtioGuest.Check(disk.Content, rounds);
    }

    [KvmTheory]
    [InlineData(Kernels)]
    [InlineData(Machines)]
    public async Task AMachineIsStoppedAmongRequests(bool apics)
    {
        DebugLine line = new();
        using GuestMachine machine = Machine("kvm", VirtioWay.Modern, apics, int.MaxValue, new MemoryDisk(VirtioGuest.Sectors * 512), line);
        machine.Start();
        Assert.True(SpinWait.SpinUntil(() => line.Count > 0, Limit));
        await Task.Delay(50);
        machine.Pause();
        machine.Resume();
        machine.Stop();
        Assert.Equal(MachineEnd.Stopped, (await machine.Completion.WaitAsync(Limit)).End);
    }

    private static GuestMachine Machine(string engine, VirtioWay way, bool apics, int rounds, MemoryDisk disk, DebugLine line)
    {
        MachineSpecification specification = SmallGuest.Specification(a => VirtioGuest.Write(a, way, rounds), line);
        return GuestMachine.Create(specification with
        {
            Cpu = specification.Cpu with { Engine = engine },
            Test = specification.Test with { KernelLocalApics = apics },
            Devices = new DeviceSpecification
            {
                Disks = [new DiskDevice("memory", disk)],
                Networks = [new NetworkDevice("loop", new LoopedWire(), MacAddress.Random())],
            },
        });
    }
}
