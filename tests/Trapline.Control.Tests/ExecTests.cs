using System.Text;
using Trapline.Agent;
using Trapline.Control.Api;
using Trapline.Control.Client;

namespace Trapline.Control.Tests;

/// <summary>Programs by way of the socket: bytes, statuses and ends as if they ran here.</summary>
public sealed class ExecTests
{
    private const string Name = ServedMachine.Name;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task ArgumentsStreamsAndStatusArrive()
    {
        GuestProgram? seen = null;
        FakePrograms programs = FakePrograms.Running(async (program, _) =>
        {
            seen = program;
            await program.Stdin!.CopyToAsync(program.Stdout);
            program.Stderr.Write("err"u8);
            return new ProgramResult(ProgramEnd.Exited, 7);
        });
        await using ServedMachine served = new(programs);
        byte[] input = new byte[1_000_000];
        Random.Shared.NextBytes(input);
        using MemoryStream output = new(), errors = new();
        using RemoteProgram program = await served.Client.ExecuteAsync(Name, new GuestProgram
        {
            Arguments = [Encoding.UTF8.GetBytes("cat"), new byte[] { 0xFF, 0, 10 }, ReadOnlyMemory<byte>.Empty, new byte[9000]],
            Environment = ["TERM=dumb", "X=ü"],
            Stdin = new MemoryStream(input),
            Stdout = output,
            Stderr = errors,
        }).WaitAsync(Limit);
        Assert.Equal(new ProgramResult(ProgramEnd.Exited, 7), await program.Ended.WaitAsync(Limit));
        Assert.Equal(input, output.ToArray());
        Assert.Equal("err"u8.ToArray(), errors.ToArray());
        Assert.Equal([[.. "cat"u8], [0xFF, 0, 10], [], new byte[9000]], seen!.Arguments.Select(a => a.ToArray()));
        Assert.Equal(["TERM=dumb", "X=ü"], seen.Environment);
    }

    [Fact]
    public async Task SignalsArriveAndTheirDeathsComeBack()
    {
        FakePrograms programs = FakePrograms.Running(async (_, self) => new ProgramResult(ProgramEnd.Signalled, await self.Signalled));
        await using ServedMachine served = new(programs);
        using RemoteProgram program = await served.Client.ExecuteAsync(Name, VirtualMachine.Program("sleep")).WaitAsync(Limit);
        await program.SignalAsync(2);
        Assert.Equal(130, (await program.Ended.WaitAsync(Limit)).ExitCode);
    }

    [Fact]
    public async Task FifteenProgramsRunAtOnceAndOneMoreIsRefusedUntilOneHasEnded()
    {
        TaskCompletionSource<ProgramResult> end = new();
        FakePrograms programs = FakePrograms.Running((_, _) => end.Task);
        await using ServedMachine served = new(programs);
        List<RemoteProgram> all = [];
        for (int i = 0; i < 15; i++)
            all.Add(await served.Client.ExecuteAsync(Name, VirtualMachine.Program("one")).WaitAsync(Limit));
        ControlException busy = await Assert.ThrowsAsync<ControlException>(() => served.Client.ExecuteAsync(Name, VirtualMachine.Program("more")));
        Assert.Equal((409, "machine 'small' runs 15 programs already, and no more at once: try again when one has ended"), (busy.Status, busy.Message));
        end.SetResult(new ProgramResult(ProgramEnd.Exited, 0));
        foreach (RemoteProgram one in all)
        {
            await one.Ended.WaitAsync(Limit);
            one.Dispose();
        }
        using RemoteProgram next = await RetryAsync(() => served.Client.ExecuteAsync(Name, VirtualMachine.Program("next")));
        Assert.Equal(0, (await next.Ended.WaitAsync(Limit)).ExitCode);
    }

    [Fact]
    public async Task ATerminalHasItsSizeAndItsChanges()
    {
        GuestProgram? seen = null;
        FakePrograms programs = FakePrograms.Running(async (program, self) =>
        {
            seen = program;
            return new ProgramResult(ProgramEnd.Exited, (await self.Resized).Rows);
        });
        await using ServedMachine served = new(programs);
        using RemoteProgram program = await served.Client.ExecuteAsync(Name, VirtualMachine.Program("vi") with { Place = ProgramPlace.Terminal, Window = new WindowSize(24, 80) }).WaitAsync(Limit);
        await program.ResizeAsync(new WindowSize(50, 100));
        Assert.Equal(50, (await program.Ended.WaitAsync(Limit)).ExitCode);
        Assert.Equal((ProgramPlace.Terminal, new WindowSize(24, 80)), (seen!.Place, seen.Window));
    }

    [Fact]
    public async Task AMachineWithoutAnAgentSaysSo()
    {
        await using ServedMachine served = new();
        ControlException refused = await Assert.ThrowsAsync<ControlException>(() => served.Client.ExecuteAsync(Name, VirtualMachine.Program("x")));
        Assert.Equal((409, $"machine '{Name}' has no agent: only the default guest runs programs"), (refused.Status, refused.Message));
    }

    [Fact]
    public async Task WhoComesWhileTheGuestBootsWaits()
    {
        FakePrograms programs = new((_, _) => Task.FromResult(new ProgramResult(ProgramEnd.Exited, 3)));
        await using ServedMachine served = new(programs);
        Task<RemoteProgram> early = served.Client.ExecuteAsync(Name, VirtualMachine.Program("x"));
        await Task.Delay(100);
        Assert.False(early.IsCompleted);
        programs.Up.SetResult(true);
        using RemoteProgram program = await early.WaitAsync(Limit);
        Assert.Equal(3, (await program.Ended.WaitAsync(Limit)).ExitCode);
    }

    [Fact]
    public async Task AClientThatLeavesTakesItsProgramAlong()
    {
        FakePrograms programs = FakePrograms.Running(async (_, self) => new ProgramResult(ProgramEnd.Signalled, await self.Signalled));
        await using ServedMachine served = new(programs);
        RemoteProgram program = await served.Client.ExecuteAsync(Name, VirtualMachine.Program("sleep")).WaitAsync(Limit);
        while (programs.Runs == 0)
            await Task.Delay(10);
        program.Dispose();
        Assert.Equal(1, await programs.Signalled.WaitAsync(Limit)); // SIGHUP
        using RemoteProgram next = await RetryAsync(() => served.Client.ExecuteAsync(Name, VirtualMachine.Program("next")));
        Assert.Equal(129, (await next.Ended.WaitAsync(Limit)).ExitCode);
    }

    /// <summary>As in: trapline exec box -- yes | head -1.</summary>
    [Fact]
    public async Task OutputThatNobodyReadsBreaksTheProgramsPipe()
    {
        FakePrograms programs = FakePrograms.Running((program, _) =>
        {
            try
            {
                while (true)
                    program.Stdout.Write("y\n"u8);
            }
            catch (IOException)
            {
                return Task.FromResult(new ProgramResult(ProgramEnd.Signalled, 13));
            }
        });
        await using ServedMachine served = new(programs);
        MemoryStream closed = new();
        closed.Close();
        using RemoteProgram program = await served.Client.ExecuteAsync(Name, VirtualMachine.Program("yes") with { Stdout = closed }).WaitAsync(Limit);
        Assert.Equal(141, (await program.Ended.WaitAsync(Limit)).ExitCode);
    }

    [Fact]
    public async Task AGuestThatIsGoneIsNoExit()
    {
        FakePrograms programs = FakePrograms.Running((_, _) => Task.FromResult(new ProgramResult(ProgramEnd.GuestGone, 0)));
        await using ServedMachine served = new(programs);
        using RemoteProgram program = await served.Client.ExecuteAsync(Name, VirtualMachine.Program("reboot")).WaitAsync(Limit);
        Assert.Equal(ProgramEnd.GuestGone, (await program.Ended.WaitAsync(Limit)).End);
    }

    /// <summary>The seat is free a moment after the program's end has been told.</summary>
    private static async Task<RemoteProgram> RetryAsync(Func<Task<RemoteProgram>> start)
    {
        for (int tries = 0; ; tries++)
        {
            try
            {
                return await start().WaitAsync(Limit);
            }
            catch (ControlException e) when (e.Status == 409 && tries < 200)
            {
                await Task.Delay(20);
            }
        }
    }
}
