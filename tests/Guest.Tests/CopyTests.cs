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

    /// <summary>Each has an identity of its own from its first instruction on, is told so, and has the right time.</summary>
    /// <remarks>Debian 12's cloud kernel has no driver for the generation identifier: its ACPI interpreter counts the event, and the identifier is read as memory.</remarks>
    [GuestFact]
    public async Task EightCopiesKnowWhatTheyAreAndWhatTimeItIs()
    {
        const string Who = "awk '{print $1}' /sys/firmware/acpi/interrupts/gpe05; dd if=/dev/mem bs=16 skip=61424 count=1 2>/dev/null | od -An -tx1; "
            + "head -c 16 /dev/urandom | od -An -tx1; adjtimex | awk '/time.tv_/ {print $2}'";
        VirtualMachine machine = await guest.MachineAsync();
        int events = int.Parse((await AskAsync(machine, Who)).Split('\n')[0]);
        await Task.Delay(1500); // by which a clock that merely went on would be late
        using TemporaryDirectory folder = new();
        await machine.SaveAsync(folder.File("debian"));
        await Task.Delay(1500);
        List<VirtualMachine> copies = [.. await machine.ForkAsync(8)];
        for (int i = 0; i < 2; i++)
        {
            copies.Add(VirtualMachine.Restore(folder.File("debian")));
            copies[^1].Start();
        }
        try
        {
            (string Said, double Asked, double Answered)[] all = await Task.WhenAll(copies.Select(async copy =>
            {
                await AskAsync(copy, "true");
                double asked = Now;
                return (await AskAsync(copy, Who), asked, Now);
            }));
            string[][] lines = [.. all.Select(a => a.Said.Split('\n'))];
            Assert.All(lines, l => Assert.Equal(events + 1, int.Parse(l[0])));
            Assert.Equal(10, lines.Select(l => l[1]).Append((await AskAsync(machine, Who)).Split('\n')[1]).Distinct().Count() - 1);
            Assert.Equal(10, lines.Select(l => l[2]).Distinct().Count());
            for (int i = 0; i < lines.Length; i++)
                Assert.InRange(double.Parse(lines[i][3]) + (double.Parse(lines[i][4]) / 1e6), all[i].Asked - 1, all[i].Answered + 1);
        }
        finally
        {
            copies.ForEach(copy => copy.Dispose());
        }
    }

    private static double Now => (DateTime.UtcNow - DateTime.UnixEpoch).TotalSeconds;

    [GuestFact]
    public async Task AProgramThatRunsGoesOnInACopyBesideOthers()
    {
        VirtualMachine machine = await guest.MachineAsync();
        using System.IO.Pipes.AnonymousPipeServerStream writer = new();
        using System.IO.Pipes.AnonymousPipeClientStream input = new(System.IO.Pipes.PipeDirection.In, writer.ClientSafePipeHandle);
        await AskAsync(machine, "rm -f /tmp/done");
        Task<ProgramResult> running = machine.ExecuteAsync(VirtualMachine.Program("sh", "-c", "read x; seq 100000; sleep 1; echo done > /tmp/done") with { Stdin = input });
        using VirtualMachine copy = (await machine.ForkAsync(1))[0];
        writer.Write("\n"u8);
        writer.Dispose(); // a reader that waits could not be disposed
        Assert.Equal("done\n", await AskAsync(copy, "until test -f /tmp/done; do sleep 0.1; done; cat /tmp/done")); // its input ended there
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
