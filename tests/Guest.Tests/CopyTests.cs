using System.Diagnostics;
using System.Text;
using Trapline;
using Trapline.Agent;
using Trapline.Machine;
using Trapline.Testing;
using Xunit.Abstractions;

namespace Guest.Tests;

/// <summary>A booted Linux guest in a file, and as the parent of copies: each goes on and answers.</summary>
[Collection("guests")]
public sealed class CopyTests(TranslatedGuest guest, ITestOutputHelper report) : IClassFixture<TranslatedGuest>
{
    private const int Copies = 100;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private static async Task<string> AskAsync(VirtualMachine machine, string script)
    {
        using MemoryStream output = new();
        ProgramResult result = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-c", script) with { Stdout = output }).WaitAsync(Limit);
        string said = Encoding.UTF8.GetString(output.ToArray());
        Assert.True(result == new ProgramResult(ProgramEnd.Exited, 0), $"{result}: {said}");
        return said;
    }

    [GuestFact]
    public async Task AGuestIsRestoredAHundredTimesFromOneFile()
    {
        VirtualMachine machine = await guest.MachineAsync();
        await AskAsync(machine, "echo kept > /tmp/kept");
        using TemporaryDirectory folder = new();
        TimeSpan pause = await machine.SaveAsync(folder.File("debian"));
        HashSet<string> random = [];
        List<double> answers = [];
        for (int i = 0; i < Copies; i++)
        {
            long start = Stopwatch.GetTimestamp();
            using VirtualMachine copy = VirtualMachine.Restore(folder.File("debian"));
            copy.Start();
            string[] said = (await AskAsync(copy, "cat /tmp/kept; head -c 16 /dev/urandom | od -An -tx1; date +%s")).Split('\n');
            answers.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            Assert.Equal("kept", said[0]);
            Assert.True(random.Add(said[1]), $"two guests drew {said[1]}");
            Assert.InRange(Math.Abs(long.Parse(said[2]) - DateTimeOffset.UtcNow.ToUnixTimeSeconds()), 0, 30);
            Assert.True(await copy.MemoryChecked);
        }
        answers.Sort();
        report.WriteLine($"the guest stood for {pause.TotalMilliseconds:f1} ms while it was saved; restored and answered in ms: median {answers[Copies / 2]:f0}, most {answers[^1]:f0}");
        Assert.Equal("kept", (await AskAsync(machine, "cat /tmp/kept")).Trim());
    }

    [GuestFact]
    public async Task AHundredCopiesLiveAtOnceAndShareNoSecret()
    {
        VirtualMachine machine = await guest.MachineAsync();
        await AskAsync(machine, "echo parent > /tmp/who");
        long start = Stopwatch.GetTimestamp();
        IReadOnlyList<VirtualMachine> copies = await machine.ForkAsync(Copies);
        double each = Stopwatch.GetElapsedTime(start).TotalMilliseconds / Copies;
        try
        {
            string[] said = await Task.WhenAll(copies.Select((copy, i) => AskAsync(copy, $"cat /tmp/who; echo {i} > /tmp/who; head -c 16 /dev/urandom | od -An -tx1")));
            Assert.All(said, s => Assert.StartsWith("parent\n", s));
            Assert.Equal(Copies, said.Distinct().Count());
            for (int i = 0; i < Copies; i += 7)
                Assert.Equal($"{i}\n", await AskAsync(copies[i], "cat /tmp/who"));
            Assert.Equal("parent\n", await AskAsync(machine, "cat /tmp/who"));
            report.WriteLine($"{each:f1} ms a copy");
        }
        finally
        {
            foreach (VirtualMachine copy in copies)
                copy.Dispose();
        }
    }

    [GuestFact]
    public async Task AProgramThatRunsGoesOnInACopyAndTheNextOneWaitsForItsEnd()
    {
        VirtualMachine machine = await guest.MachineAsync();
        Task<ProgramResult> running = machine.ExecuteAsync(VirtualMachine.Program("sh", "-c", "seq 100000; sleep 1; echo done > /tmp/done"));
        using VirtualMachine copy = (await machine.ForkAsync(1))[0];
        Assert.Equal("done\n", await AskAsync(copy, "cat /tmp/done"));
        Assert.Equal(0, (await running.WaitAsync(Limit)).ExitCode);
    }

    [GuestFact]
    public async Task ABusyGuestAndItsCopiesComeToTheSameResults()
    {
        VirtualMachine machine = await guest.MachineAsync();
        await StressProgram.SendAsync(machine);
        Random random = new(3);
        string said = await StressProgram.RunDuringAsync(machine, async () =>
        {
            for (int i = 0; i < 10; i++)
            {
                await Task.Delay(random.Next(100));
                // In a copy the program's input ends: it says so by its status, which nobody hears; that the next one runs shows that it ended.
                using VirtualMachine copy = (await machine.ForkAsync(1))[0];
                Assert.Equal("Linux\n", await AskAsync(copy, "uname"));
            }
        });
        Assert.StartsWith("ok ", said);
    }
}
