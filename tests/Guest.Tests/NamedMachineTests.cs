using System.Diagnostics;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>A machine with a name, from outside: one process runs it, others speak to it.</summary>
[Collection("guests")]
public sealed class NamedMachineTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    private readonly TemporaryDirectory _runtime = new();

    public void Dispose() => _runtime.Dispose();

    [GuestFact]
    public async Task AMachineIsListedUsedPausedAndStoppedByItsName()
    {
        using Process machine = Start("run", "--name", "box", "--idle");
        Task<string> machineErrors = machine.StandardError.ReadToEndAsync();
        machine.StandardInput.Close();
        await WaitForAsync(() => File.Exists(Path.Combine(_runtime.Path, "trapline", "box.sock")));

        // The guest boots meanwhile: exec waits for it.
        Assert.Equal((7, "in", "err\n"), await RunAsync("in", "exec", "box", "--", "sh", "-c", "cat; echo err >&2; exit 7"));
        (int status, string list, _) = await RunAsync("", "list");
        Assert.Equal(0, status);
        Assert.Matches($@"^NAME +STATE .*\nbox +running +\S+ +\S+ +512M +1 +{machine.Id}\n$", list);
        (status, _, string errors) = await RunAsync("", "run", "--name", "box", "--", "true");
        Assert.Equal((2, true), (status, errors.StartsWith("trapline: the name 'box' is in use", StringComparison.Ordinal)));

        // A program that runs stands while the machine does, and goes on with it.
        using Process program = Start("exec", "box", "--", "sh", "-c", "echo started; read x; echo got $x");
        Assert.Equal("started", await program.StandardOutput.ReadLineAsync().WaitAsync(Limit));
        Assert.Equal((0, "beside it\n", ""), await RunAsync("", "exec", "box", "--", "echo", "beside it"));
        (int terminal, string shown, _) = await RunAsync("stty size; tty; exit 3\n", "exec", "-t", "box", "--", "sh");
        Assert.Equal(3, terminal);
        Assert.Contains("\n/dev/pts/0\r\n", shown);
        Assert.Equal((0, "box is paused\n", ""), await RunAsync("", "pause", "box"));
        await program.StandardInput.WriteAsync("it\n");
        await program.StandardInput.FlushAsync();
        Task<string?> answer = program.StandardOutput.ReadLineAsync();
        await Task.Delay(500);
        Assert.False(answer.IsCompleted);
        Assert.Contains("paused", (await RunAsync("", "list")).Output);
        Assert.Equal((0, "box is running\n", ""), await RunAsync("", "resume", "box"));
        Assert.Equal("got it", await answer.WaitAsync(Limit));
        await program.WaitForExitAsync().WaitAsync(Limit);

        (status, string statistics, _) = await RunAsync("", "stats", "box");
        Assert.Equal(0, status);
        Assert.Matches(@"^guest [0-9.]+ s\n", statistics);
        Assert.Matches(@"\nexits [1-9][0-9]+\n", statistics);
        Assert.Equal((141, "y\n", ""), await ShellAsync("exec box -- yes | head -1; echo ${PIPESTATUS[0]} >&2"));

        Assert.Equal((0, "box has ended: the guest switched itself off\n", ""), await RunAsync("", "stop", "box"));
        await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.Equal((0, ""), (machine.ExitCode, await machineErrors));
        Assert.Equal((2, "", "trapline: there is no machine 'box': none with a name is running; trapline run --name NAME starts one\n"), await RunAsync("", "stop", "box"));
    }

    /// <summary>A warm guest, and clones of it that are used by name after it has ended.</summary>
    [GuestFact]
    public async Task ClonesAreUsedByNameAndOutliveTheirOriginal()
    {
        using Process machine = Start("run", "--name", "warm", "--idle");
        machine.StandardInput.Close();
        await WaitForAsync(() => File.Exists(Path.Combine(_runtime.Path, "trapline", "warm.sock")));
        Assert.Equal((0, "", ""), await RunAsync("", "exec", "warm", "--", "sh", "-c", "echo prepared > /tmp/state"));
        Assert.Equal((0, "task-1\ntask-2\n", ""), await RunAsync("", "fork", "warm", "-n", "2", "--name", "task"));
        Assert.Equal((0, "warm-1\n", ""), await RunAsync("", "fork", "warm"));
        Assert.Equal((0, "warm has ended: the guest switched itself off\n", ""), await RunAsync("", "stop", "warm"));
        Assert.Equal((0, "prepared\nin", ""), await RunAsync("in", "exec", "task-2", "--", "sh", "-c", "cat /tmp/state -; echo changed > /tmp/state"));
        Assert.Equal((0, "prepared\n", ""), await RunAsync("", "exec", "task-1", "--", "cat", "/tmp/state"));
        Assert.Equal((0, "task-2-1\n", ""), await RunAsync("", "fork", "task-2"));
        Assert.Equal((0, "changed\n", ""), await RunAsync("", "exec", "task-2-1", "--", "cat", "/tmp/state"));
        Assert.Matches(@"^NAME .*\ntask-1 .*\ntask-2 .*\ntask-2-1 .*\nwarm-1 .*\n$", (await RunAsync("", "list")).Output);
        foreach (string clone in (string[])["task-1", "task-2", "task-2-1", "warm-1"])
        {
            Assert.False(machine.HasExited);
            Assert.Equal(0, (await RunAsync("", "stop", clone)).Status);
        }
        await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.Equal(0, machine.ExitCode);
        Assert.Empty(Directory.GetFiles(Path.Combine(_runtime.Path, "trapline"), "*.sock"));
    }

    /// <summary>Somebody else ends the machine under a command, or by running a program in it.</summary>
    [GuestFact]
    public async Task ACommandWhoseMachineIsStoppedByOthersSaysSo()
    {
        using Process machine = Start("run", "--name", "job", "--", "sh", "-c", "echo up; sleep 1000");
        machine.StandardInput.Close();
        Assert.Equal("up", await machine.StandardOutput.ReadLineAsync().WaitAsync(Limit));
        Assert.Equal((0, "beside it\n", ""), await RunAsync("", "exec", "job", "--", "echo", "beside it"));
        Assert.Equal(0, (await RunAsync("", "stop", "job")).Status);
        await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.Equal((69, "trapline: the machine was stopped before the command ended\n"), (machine.ExitCode, await machine.StandardError.ReadToEndAsync()));
    }

    /// <summary>A saved guest comes back under a name, for commands that come later.</summary>
    [GuestFact]
    public async Task ARestoredGuestHasANameToo()
    {
        string file = Path.Combine(_runtime.Path, "saved");
        Assert.Equal(0, (await RunAsync("", "run", "--save", file, "--", "touch", "/tmp/kept")).Status);
        using Process machine = Start("restore", file, "--name", "again", "--idle");
        machine.StandardInput.Close();
        await WaitForAsync(() => File.Exists(Path.Combine(_runtime.Path, "trapline", "again.sock")));
        Assert.Equal((0, "/tmp/kept\n", ""), await RunAsync("", "exec", "again", "--", "ls", "/tmp/kept"));
        Assert.Equal(0, (await RunAsync("", "stop", "again")).Status);
        await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.Equal(0, machine.ExitCode);
    }

    /// <summary>A saved guest's ports and sockets lead where its second user wants them, and it still gives memory back.</summary>
    [GuestFact]
    public async Task ARestoredGuestIsReachedAsTheFirstWas()
    {
        string file = Path.Combine(_runtime.Path, "saved"), first = Path.Combine(_runtime.Path, "first"), second = Path.Combine(_runtime.Path, "second");
        string socket = Path.Combine(_runtime.Path, "v");
        const string say = "for p in /dev/vport*; do echo $0 > $p; done";
        Assert.Equal((0, "", ""), await RunAsync("", "run", "--save", file, "--device", "balloon", "--port", $"org.test=file:{first}", "--vsock", socket + "1,cid=42", "--", "sh", "-c", say, "one"));
        Assert.Equal("one\n", await File.ReadAllTextAsync(first));
        Assert.Equal((2, "", "trapline: --port 'other': the saved machine has no such port, only org.test\n"), await RunAsync("", "restore", file, "--port", "other=pty", "--", "true"));
        using Process machine = Start("restore", file, "--name", "again", "--idle", "--port", $"org.test=file:{second}", "--vsock", socket + "2");
        machine.StandardInput.Close();
        await WaitForAsync(() => File.Exists(Path.Combine(_runtime.Path, "trapline", "again.sock")));
        Assert.Equal((0, "", ""), await RunAsync("", "exec", "again", "--", "sh", "-c", say, "two"));
        await WaitForAsync(() => File.ReadAllText(second) == "two\n");
        Assert.Equal("one\n", await File.ReadAllTextAsync(first));
        using (Socket host = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            await host.ConnectAsync(new UnixDomainSocketEndPoint(socket + "2"));
            await host.SendAsync("CONNECT 5000\n"u8.ToArray());
            Assert.Equal(0, await host.ReceiveAsync(new byte[1]).WaitAsync(Limit)); // nobody listens in the guest, which says so
        }

        Assert.Equal((0, "again is asked to do without 128 MiB; trapline stats again says how far it is\n", ""), await RunAsync("", "balloon", "again", "128M"));
        string said = "";
        for (int i = 0; i < 100 && !Regex.IsMatch(said, @"\nballoon: 1[12]\d MiB of 128 MiB, [1-9]\d\d MiB given back so far\n"); i++)
            said = (await RunAsync("", "stats", "again")).Output;
        Assert.Contains("MiB of 128 MiB", said);
        Assert.Equal((2, "", "trapline: SIZE 'much' is not a size: use a number with K, M, G or T, such as 512M\n"), await RunAsync("", "balloon", "again", "much"));
        Assert.Equal(0, (await RunAsync("", "stop", "again")).Status);
        await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.Equal(0, machine.ExitCode);
    }

    /// <summary>A process that is killed leaves its socket; the name is free all the same.</summary>
    [GuestFact]
    public async Task TheNameOfAKilledProcessIsFree()
    {
        using (Process killed = Start("run", "--name", "box", "--idle"))
        {
            await WaitForAsync(() => File.Exists(Path.Combine(_runtime.Path, "trapline", "box.sock")));
            killed.Kill();
            await killed.WaitForExitAsync().WaitAsync(Limit);
        }
        Assert.True(File.Exists(Path.Combine(_runtime.Path, "trapline", "box.sock")));
        Assert.Equal((0, "here\n", ""), await RunAsync("", "run", "--name", "box", "--", "echo", "here"));
        Assert.False(File.Exists(Path.Combine(_runtime.Path, "trapline", "box.sock")));
    }

    /// <summary>Runs a pipeline and gives the status that it wrote to its errors.</summary>
    private async Task<(int Status, string Output, string Errors)> ShellAsync(string arguments)
    {
        ProcessStartInfo start = StartInfo("bash", "-c", $"{Launcher.Path} {arguments}");
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string errors = await process.StandardError.ReadToEndAsync().WaitAsync(Limit);
        await process.WaitForExitAsync().WaitAsync(Limit);
        return (int.Parse(errors.Trim()), await output, "");
    }

    private async Task<(int Status, string Output, string Errors)> RunAsync(string input, params string[] arguments)
    {
        using Process process = Start(arguments);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        await process.WaitForExitAsync().WaitAsync(Limit);
        return (process.ExitCode, await output, await errors);
    }

    private Process Start(params string[] arguments) => Process.Start(StartInfo(Launcher.Path, arguments))!;

    private ProcessStartInfo StartInfo(string program, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["XDG_RUNTIME_DIR"] = _runtime.Path;
        return start;
    }

    private static async Task WaitForAsync(Func<bool> condition)
    {
        Stopwatch watch = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(watch.Elapsed < Limit, "it does not happen");
            await Task.Delay(50);
        }
    }
}
