using System.Text;
using Trapline;
using Trapline.Agent;

namespace Guest.Tests;

/// <summary>Commands in the booted guest: arguments, streams and statuses exactly as they were given.</summary>
public abstract class CommandTests(DefaultGuestFixture guest)
{
    [GuestFact]
    public async Task TheKernelIsDebians()
    {
        Ran ran = await guest.RunAsync("uname", "-a");
        Assert.Matches(@"^Linux trapline \S+-cloud-amd64 .*Debian.* x86_64 GNU/Linux\n$", ran.Text);
    }

    [GuestFact]
    public async Task ExitStatusesComeBack()
    {
        Assert.Equal(7, (await guest.ShellAsync("exit 7")).Result.ExitCode);
        Assert.Equal(0, (await guest.RunAsync("true")).Result.ExitCode);
        Assert.Equal(255, (await guest.ShellAsync("exit 255")).Result.ExitCode);
        Assert.Equal(137, (await guest.ShellAsync("kill -9 $$")).Result.ExitCode);
        Assert.Equal(126, (await guest.RunAsync("/etc")).Result.ExitCode);
        Ran missing = await guest.RunAsync("nonesuch");
        Assert.Equal(127, missing.Result.ExitCode);
        Assert.Contains("'nonesuch'", missing.ErrorText);
    }

    [GuestFact]
    public async Task ArgumentsArriveByteForByte()
    {
        byte[] raw = [0x80, 0xFF, 1, 27, (byte)'\'', (byte)'"', (byte)'\\', (byte)'\n', (byte)'$', (byte)' '];
        List<ReadOnlyMemory<byte>> arguments = [.. new[] { "sh", "-c", "for a; do printf '%s\\0' \"$a\"; done", "sh", "a  b", "", "ünï ∀", "-n" }
            .Select(a => new ReadOnlyMemory<byte>(Encoding.UTF8.GetBytes(a))), raw];
        Ran ran = await guest.RunAsync(VirtualMachine.Program() with { Arguments = arguments });
        byte[] expected = [.. arguments.Skip(4).SelectMany(a => a.ToArray().Append((byte)0))];
        Assert.Equal(expected, ran.Output);
    }

    [GuestFact]
    public async Task LongArgumentsArriveWhole()
    {
        Ran ran = await guest.RunAsync("sh", "-c", "echo ${#1}", "sh", new string('x', 100_000));
        Assert.Equal("100000\n", ran.Text);
    }

    [GuestFact]
    public async Task OutputAndErrorsAreApart()
    {
        Ran ran = await guest.ShellAsync("echo out; echo err >&2; echo more");
        Assert.Equal("out\nmore\n", ran.Text);
        Assert.Equal("err\n", ran.ErrorText);
    }

    [GuestFact]
    public async Task InputGoesThroughWithItsEnd()
    {
        byte[] input = new byte[100_000];
        new Random(5).NextBytes(input);
        Ran ran = await guest.RunAsync(VirtualMachine.Program("cat") with { Stdin = new MemoryStream(input) });
        Assert.Equal(input, ran.Output);
    }

    [GuestFact]
    public async Task InputThatTheProgramDoesNotReadIsNoTrouble()
    {
        Ran ran = await guest.RunAsync(VirtualMachine.Program("head", "-c", "3") with { Stdin = new MemoryStream(new byte[200_000]) });
        Assert.Equal(3, ran.Output.Length);
        Assert.Equal(0, (await guest.RunAsync(VirtualMachine.Program("true") with { Stdin = new MemoryStream(new byte[200_000]) })).Result.ExitCode);
    }

    [GuestFact]
    public async Task SignalsReachTheProgram()
    {
        Trapline.VirtualMachine machine = await guest.MachineAsync();
        IGuestProcess sleeping = (await machine.StartProgramAsync(VirtualMachine.Program("sleep", "1000")))!;
        Assert.Equal(0, (await guest.ShellAsync("until pidof sleep; do :; done")).Result.ExitCode);
        sleeping.Signal(2);
        Assert.Equal(130, (await sleeping.Ended.WaitAsync(TimeSpan.FromMinutes(1))).ExitCode);
    }

    /// <summary>Fifteen at once, one of which nobody reads: none holds up another.</summary>
    [GuestFact]
    public async Task ProgramsRunSideBySide()
    {
        Trapline.VirtualMachine machine = await guest.MachineAsync();
        using System.IO.Pipes.AnonymousPipeServerStream unread = new();
        IGuestProcess stuck = (await machine.StartProgramAsync(VirtualMachine.Program("sh", "-c", "head -c 300000 /dev/zero; exit 4") with { Stdout = unread }))!;
        Ran[] all = await Task.WhenAll(Enumerable.Range(0, 14).Select(i => guest.RunAsync(
            VirtualMachine.Program("sh", "-c", $"cat | md5sum; seq 20000 | tail -1; exit {i}") with { Stdin = new MemoryStream(new byte[100_000 + i]) })));
        Assert.Equal(Enumerable.Range(0, 14), all.Select(r => r.Result.ExitCode));
        for (int i = 0; i < all.Length; i++)
            Assert.Equal($"{Convert.ToHexStringLower(System.Security.Cryptography.MD5.HashData(new byte[100_000 + i]))}  -\n20000\n", all[i].Text);
        Assert.False(stuck.Ended.IsCompleted);
        using System.IO.Pipes.AnonymousPipeClientStream reader = new(System.IO.Pipes.PipeDirection.In, unread.ClientSafePipeHandle);
        byte[] read = new byte[300_000];
        reader.ReadExactly(read);
        Assert.Equal(4, (await stuck.Ended.WaitAsync(TimeSpan.FromMinutes(1))).ExitCode);
    }

    [GuestFact]
    public async Task ATerminalIsATerminal()
    {
        Ran ran = await guest.RunAsync(VirtualMachine.Program("sh", "-c", "stty size; tty; read x; echo got $x; cat") with
        {
            Place = ProgramPlace.Terminal,
            Window = new WindowSize(33, 77),
            Stdin = new MemoryStream("typed\n"u8.ToArray()),
        });
        Assert.Equal(0, ran.Result.ExitCode);
        Assert.StartsWith("33 77\r\n/dev/pts/", ran.Text.Replace("typed\r\n", "", StringComparison.Ordinal));
        Assert.EndsWith("got typed\r\n", ran.Text);
    }
}

[Collection("guests")]
public sealed class InterpretedCommandTests(InterpretedGuest guest) : CommandTests(guest), IClassFixture<InterpretedGuest>;

[Collection("guests")]
public sealed class TranslatedCommandTests(TranslatedGuest guest) : CommandTests(guest), IClassFixture<TranslatedGuest>;
