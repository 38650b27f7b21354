using Iced.Intel;
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

    /// <summary>What the guest wrote is on stable storage when a pause returns, and in an image; a switch of engines waits for no disk.</summary>
    [Fact]
    public void PausesFlushDisks()
    {
        MemoryDisk disk = new(VirtioGuest.Sectors * 512);
        // It never gets to its driver: nobody else flushes.
        MachineSpecification specification = SmallGuest.Specification(a =>
        {
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.jmp(again);
        }, new DebugLine());
        using GuestMachine machine = GuestMachine.Create(specification with { Devices = new DeviceSpecification { Disks = [new DiskDevice("memory", disk)] } });
        machine.Start();
        machine.SwitchEngine("translator");
        Assert.Equal(0, disk.Flushes);
        machine.Pause();
        Assert.Equal(1, disk.Flushes);
        machine.Resume();
        machine.Capture().Dispose();
        Assert.Equal(2, disk.Flushes);
        disk.Fails = true;
        machine.Pause(); // a disk that fails keeps nobody from pausing
        Assert.Equal((MachineStatus.Paused, 2), (machine.Status, disk.Flushes));
    }

    /// <summary>Where the kernel has the local APICs and answers doorbells, the guest hardly ever leaves it; who traces exits sees them all.</summary>
    [KvmTheory]
    [InlineData(VirtioWay.Modern, false)]
    [InlineData(VirtioWay.Legacy, false)]
    [InlineData(VirtioWay.Modern, true)]
    public async Task NotificationsStayInTheKernel(VirtioWay way, bool traced)
    {
        const int rounds = 300, notifications = 4 * rounds;
        using StringWriter lines = new();
        DebugLine line = new();
        DiagnosticsSpecification diagnostics = traced ? new() { Trace = TraceKinds.Exits, TraceWriter = lines } : new();
        using GuestMachine machine = Machine("kvm", way, Kernels, rounds, new MemoryDisk(VirtioGuest.Sectors * 512), line, diagnostics);
        MachineOutcome outcome = await machine.RunAsync().WaitAsync(Limit);
        Assert.True(outcome.End == MachineEnd.DebugExit, outcome.Reason);
        long entries = machine.GetStatistics().Vcpus[0].Details.Single(d => d.Name == "entries into the guest").Value;
        if (traced)
            Assert.True(entries >= notifications, $"{entries} entries");
        else
            Assert.True(entries < notifications / 2, $"{entries} entries");
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

    private static GuestMachine Machine(string engine, VirtioWay way, bool apics, int rounds, MemoryDisk disk, DebugLine line, DiagnosticsSpecification? diagnostics = null)
    {
        MachineSpecification specification = SmallGuest.Specification(a => VirtioGuest.Write(a, way, rounds), line);
        return GuestMachine.Create(specification with
        {
            Cpu = specification.Cpu with { Engine = engine },
            Test = specification.Test with { KernelLocalApics = apics },
            Diagnostics = diagnostics ?? new DiagnosticsSpecification(),
            Devices = new DeviceSpecification
            {
                Disks = [new DiskDevice("memory", disk)],
                Networks = [new NetworkDevice("loop", new LoopedWire(), MacAddress.Random())],
            },
        });
    }
}
