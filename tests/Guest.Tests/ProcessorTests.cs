using Trapline;

namespace Guest.Tests;

/// <summary>Linux guests of several vCPUs, more than the host may have processors, kept busy by a program that checks itself.</summary>
[Collection("guests")]
public sealed class ProcessorTests(FourProcessors guest) : IClassFixture<FourProcessors>
{
    [GuestFact]
    public async Task FourProcessorsShareMemoryCodeAndTimeAsOnHardware()
    {
        VirtualMachine machine = await guest.MachineAsync();
        Assert.Equal("4", (await guest.ShellAsync("nproc")).Text.Trim());
        await StressProgram.SendAsync(machine, StressProgram.Parallel);
        Assert.Contains("ok ", (await guest.ShellAsync("/tmp/parallel 4 4")).Text);
        await NothingWentWrongAsync();
    }

    [GuestFact]
    public async Task AProcessorIsTakenAwayAndComesBack()
    {
        Assert.Equal("3", (await guest.ShellAsync("echo 0 > /sys/devices/system/cpu/cpu3/online; nproc")).Text.Trim());
        Assert.Equal("4", (await guest.ShellAsync("echo 1 > /sys/devices/system/cpu/cpu3/online; nproc")).Text.Trim());
        await NothingWentWrongAsync();
    }

    [GuestFact]
    public async Task EnginesAreReplacedUnderAllOfThem()
    {
        VirtualMachine machine = await guest.MachineAsync();
        await StressProgram.SendAsync(machine, StressProgram.Parallel);
        Task<Ran> running = guest.ShellAsync("/tmp/parallel 3 4");
        for (int i = 0; !running.IsCompleted; i++)
        {
            await machine.SwitchEngineAsync(i % 4 == 3 ? "interpreter" : "translator");
            await Task.Delay(100);
        }
        await machine.SwitchEngineAsync("translator");
        Assert.Contains("ok ", (await running).Text);
        await NothingWentWrongAsync();
    }

    private async Task NothingWentWrongAsync() =>
        Assert.Equal("", (await guest.ShellAsync("dmesg | grep -iE 'lockup|stall|BUG:|WARNING:|hung task'; true")).Text.Trim());
}
